"""Reading the jobs of a sweep, or the trials of a search, from their folders."""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import OmegaConf

from pixelwise import files, runs
from pixelwise.errors import UserError
from pixelwise.overrides import key_of
from pixelwise.protocols import ScoreName
from pixelwise.runs import records, untrusted

log = logging.getLogger(__name__)

BEST = "best "
"""Prefix of the monitored score at the best epoch: `best val/miou`."""

OUTCOME = "outcome.json"
"""File in a run folder whose last attempt failed or was pruned: its state and the reason."""


@dataclass(frozen=True)
class Job:
    """One run of a sweep or a search."""

    name: str
    choices: dict[str, str]
    """Values of its overrides by key."""
    state: str
    """One of: not started, unfinished, failed, pruned, finished, damaged."""
    why: str = ""
    scores: dict[str, float] = field(default_factory=dict)
    """Final scores by flat name, and the monitored score at the best epoch, as "best val/miou"."""
    classes: tuple[str, ...] = ()
    """Names of the classes; empty if unknown."""

    @property
    def status(self) -> str:
        """The state and its reason in one line: the first line of a message, or the last of a traceback."""
        lines = self.why.splitlines()
        return (
            f"{self.state}: {lines[-1 if lines[0].startswith('Traceback') else 0]}" if lines else self.state
        )


@dataclass(frozen=True)
class Setting:
    """Jobs that differ only in their seeds."""

    choices: dict[str, str]
    jobs: list[Job]

    def values(self, score: str) -> list[float]:
        """The defined values of a score, one for each seed."""
        values = (job.scores.get(score, math.nan) for job in self.jobs)
        return [value for value in values if math.isfinite(value)]

    def mean(self, score: str) -> float:
        """Mean over seeds; NaN without a value."""
        values = self.values(score)
        return statistics.fmean(values) if values else math.nan

    def sd(self, score: str) -> float:
        """Sample standard deviation over seeds (n - 1); NaN for fewer than two."""
        values = self.values(score)
        return statistics.stdev(values) if len(values) > 1 else math.nan


def note(folder: Path, state: str, why: str) -> None:
    """Record that the last attempt of a run failed or was pruned."""
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / OUTCOME, {"state": state, "why": why})


# --------------------------------------------------------------------------------------- reading folders
def read(sweep: Path) -> list[Job]:
    """All jobs in the folder of a sweep, and those that its last command planned and that never started."""
    untrusted.check_links(sweep)
    planned: dict[str, list[str]]
    planned = records.tolerant(lambda: records.read(sweep / "jobs.json", records.Jobs)) or {}
    if elsewhere := [name for name in planned if Path(name).name != name or name == ".."]:
        found = f"the job {elsewhere[0]!r}, which is no name of a folder in it"
        raise UserError(f"{sweep / 'jobs.json'} does not belong to a sweep", found=found, fix=files.RESTORE)
    present = {f.parent.name for name in ("overrides.yaml", OUTCOME) for f in sweep.glob(f"*/{name}")}
    names = [name for name in present if not (sweep / name).is_symlink()]  # `latest` repeats a job
    return [_job(sweep / name, planned.get(name, [])) for name in sorted({*names, *planned})]


def _job(folder: Path, planned: Iterable[str]) -> Job:
    try:
        return _read_job(folder, planned)
    except UserError as error:  # the report of the other jobs goes on
        log.warning("%s", error)
        choices = {key_of(word): word.partition("=")[2] for word in planned}
        return Job(folder.name, choices, "damaged", str(error))


def _read_job(folder: Path, planned: Iterable[str]) -> Job:
    overrides = folder / "overrides.yaml"
    typed = runs.load_overrides(folder) if overrides.is_file() else planned
    choices = {key_of(str(o)): str(o).partition("=")[2] for o in typed}
    final = folder / "metrics.json"
    outcome = records.read(folder / OUTCOME, records.Outcome)
    if not outcome and not final.is_file():
        return Job(folder.name, choices, "unfinished" if overrides.is_file() else "not started")
    scores: dict[str, float] = {}
    classes: tuple[str, ...] = ()
    if (folder / "config.yaml").is_file():
        config = runs.load_config(folder)
        plain = OmegaConf.to_container(config, resolve=True)
        records.check(folder / "config.yaml", plain, records.JobConfig)
        classes = tuple(map(str, config.data.classes))
        if values := validations(folder, config.task.monitor):
            scores[BEST + config.task.monitor] = best_of(values, config.task.mode)
    if outcome:
        return Job(folder.name, choices, outcome["state"], outcome["why"], scores, classes)
    return Job(folder.name, choices, "finished", "", scores | runs.read_scores(final), classes)


def validations(folder: Path, monitor: str) -> list[float]:
    """The monitored score of a run after each validation so far."""
    rows = files.read_rows(folder / "metrics.csv", records.LOGGED)
    return [row[monitor] for row in rows if monitor in row]


def best_of(values: Sequence[float], mode: str) -> float:
    """The largest or smallest of the defined values; NaN if there is none."""
    defined = [value for value in values if not math.isnan(value)]
    return (max if mode == "max" else min)(defined, default=math.nan)


def differing(jobs: Sequence[Job]) -> list[str]:
    """The keys whose overrides differ between the jobs."""
    keys = dict.fromkeys(key for job in jobs for key in job.choices)
    return [key for key in keys if len({job.choices.get(key) for job in jobs}) > 1]


def settings(jobs: Sequence[Job]) -> list[Setting]:
    """Group the finished jobs by all overrides but the seed; jobs with equal overrides count once.

    A run is in the folder twice if a key had one value in an earlier command and several in a later one.
    """
    keys = [key for key in differing(jobs) if key != "seed"]
    groups: dict[tuple[str, ...], list[Job]] = {}
    distinct = {tuple(sorted(job.choices.items())): job for job in jobs if job.state == "finished"}
    for job in jobs:
        if job in distinct.values():
            groups.setdefault(tuple(job.choices.get(key, "") for key in keys), []).append(job)
    return [Setting(dict(zip(keys, values, strict=True)), group) for values, group in groups.items()]


def score_names(jobs: Sequence[Job]) -> list[str]:
    """Names of all scores of the jobs: at the best epoch first, then means, then classes."""
    classes = {label for job in jobs for label in job.classes}
    parsed = {n: ScoreName.parse(n.removeprefix(BEST), classes) for job in jobs for n in job.scores}

    def order(name: str) -> tuple[bool, bool, str, str]:
        return not name.startswith(BEST), parsed[name].class_name is not None, parsed[name].protocol, name

    return sorted(parsed, key=order)


def shown_scores(jobs: Sequence[Job]) -> list[str]:
    """Names of the scores to compare jobs by: the monitored score at the best epoch, and its final value."""
    names = score_names(jobs)
    best = [name for name in names if name.startswith(BEST)]
    monitored = [ScoreName.parse(name.removeprefix(BEST), ()) for name in best]
    final = [str(name._replace(split=split)) for name in monitored for split in ("test", "val")]
    return best + [name for name in final if name in names]
