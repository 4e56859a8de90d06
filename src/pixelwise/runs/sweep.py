"""The jobs of a sweep, or the trials of a search, read from their folders."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import OmegaConf

from pixelwise import files, runs
from pixelwise.overrides import key_of
from pixelwise.types import ScoreName

BEST = "best "
"""Before the name of the score that chose the epoch, at that epoch."""

OUTCOME = "outcome.json"
"""In a run folder whose last attempt did not end well: its state, and why."""


@dataclass(frozen=True)
class Job:
    """One run among others."""

    name: str
    choices: dict[str, str]
    """What was typed for it, by key."""
    state: str
    """not started, unfinished, failed, pruned, finished."""
    why: str = ""
    scores: dict[str, float] = field(default_factory=dict)
    """Final ones by flat name, and the validation score that chose the best epoch, as "best val/miou"."""
    classes: tuple[str, ...] = ()
    """Names of the classes, as far as known."""

    @property
    def told(self) -> str:
        """The state in one line, with the reason: a message's first line, or a traceback's last."""
        lines = self.why.splitlines()
        return (
            f"{self.state}: {lines[-1 if lines[0].startswith('Traceback') else 0]}" if lines else self.state
        )


@dataclass(frozen=True)
class Setting:
    """Jobs that differ in nothing but their seeds."""

    choices: dict[str, str]
    jobs: list[Job]

    def values(self, score: str) -> list[float]:
        """The defined values of a score."""
        found = (job.scores.get(score, math.nan) for job in self.jobs)
        return [value for value in found if math.isfinite(value)]

    def mean(self, score: str) -> float:
        """Mean over seeds; NaN without any."""
        values = self.values(score)
        return statistics.fmean(values) if values else math.nan

    def sd(self, score: str) -> float:
        """Sample standard deviation over seeds (n - 1); NaN below two."""
        values = self.values(score)
        return statistics.stdev(values) if len(values) > 1 else math.nan


def note(folder: Path, state: str, why: str) -> None:
    """Write down that a run's last attempt did not end well."""
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / OUTCOME, {"state": state, "why": why})


# --------------------------------------------------------------------------------------- reading folders
def read(sweep: Path) -> list[Job]:
    """Every job of a sweep's folder, and those that its command asked for and that never began."""
    planned: dict[str, list[str]] = files.read_json(sweep / "jobs.json")
    found = {f.parent.name for name in ("overrides.yaml", OUTCOME) for f in sweep.glob(f"*/{name}")}
    names = [name for name in found if not (sweep / name).is_symlink()]  # `latest` is one of the others
    return [_job(sweep / name, planned.get(name, [])) for name in sorted({*names, *planned})]


def _job(folder: Path, planned: Iterable[str]) -> Job:
    overrides = folder / "overrides.yaml"
    typed = OmegaConf.load(overrides) if overrides.is_file() else planned
    choices = {key_of(str(o)): str(o).partition("=")[2] for o in typed}
    final = folder / "metrics.json"
    outcome = files.read_json(folder / OUTCOME)
    if not outcome and not final.is_file():
        return Job(folder.name, choices, "unfinished" if overrides.is_file() else "not started")
    scores: dict[str, float] = {}
    classes: tuple[str, ...] = ()
    if (folder / "config.yaml").is_file():
        config = runs.load_config(folder)
        classes = tuple(map(str, config.data.classes))
        if values := validations(folder, config.task.monitor):
            scores[BEST + config.task.monitor] = best_of(values, config.task.mode)
    if outcome:
        return Job(folder.name, choices, outcome["state"], outcome["why"], scores, classes)
    return Job(folder.name, choices, "finished", "", scores | runs.read_scores(final), classes)


def validations(folder: Path, monitor: str) -> list[float]:
    """The monitored score after each validation so far."""
    return [row[monitor] for row in files.read_rows(folder / "metrics.csv") if monitor in row]


def best_of(values: Sequence[float], mode: str) -> float:
    """The largest or the smallest; NaN counts only where there is nothing else."""
    defined = [value for value in values if not math.isnan(value)]
    return (max if mode == "max" else min)(defined, default=math.nan)


def differing(jobs: Sequence[Job]) -> list[str]:
    """The keys that were not typed alike for all jobs."""
    keys = dict.fromkeys(key for job in jobs for key in job.choices)
    return [key for key in keys if len({job.choices.get(key) for job in jobs}) > 1]


def settings(jobs: Sequence[Job]) -> list[Setting]:
    """Finished jobs, grouped by all that differs but the seed; the same choices count once.

    A sweep's folder has a run twice where a key had one value in an earlier command and several in a later.
    """
    keys = [key for key in differing(jobs) if key != "seed"]
    groups: dict[tuple[str, ...], list[Job]] = {}
    distinct = {tuple(sorted(job.choices.items())): job for job in jobs if job.state == "finished"}
    for job in jobs:
        if job in distinct.values():
            groups.setdefault(tuple(job.choices.get(key, "") for key in keys), []).append(job)
    return [Setting(dict(zip(keys, values, strict=True)), group) for values, group in groups.items()]


def score_names(jobs: Sequence[Job]) -> list[str]:
    """Every score of any job: the one that chose the epoch, then means, then classes."""
    classes = {label for job in jobs for label in job.classes}
    parsed = {n: ScoreName.parse(n.removeprefix(BEST), classes) for job in jobs for n in job.scores}

    def order(name: str) -> tuple[bool, bool, str, str]:
        return not name.startswith(BEST), parsed[name].class_name is not None, parsed[name].protocol, name

    return sorted(parsed, key=order)


def shown_scores(jobs: Sequence[Job]) -> list[str]:
    """The few that people compare by: the monitored score, as it chose the epoch and as it ended."""
    names = score_names(jobs)
    best = [name for name in names if name.startswith(BEST)]
    monitored = [ScoreName.parse(name.removeprefix(BEST), ()) for name in best]
    final = [str(name._replace(split=split)) for name in monitored for split in ("test", "val")]
    return best + [name for name in final if name in names]
