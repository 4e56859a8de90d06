"""Runs side by side: the jobs of a sweep or the trials of a search, and their means over seeds.

| file in the sweep's folder | content |
|---|---|
| `jobs.json` | the jobs that the last command asked for, with their overrides |
| `jobs.csv` | a row a job: what differs, state, every final score |
| `settings.csv` | a row a setting: number of seeds, mean and sample standard deviation of every score |
| `report.html` | both, with pictures |

Imports no torch, so that a sweep with nothing left to do is answered at once.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich import box
from rich.console import Console
from rich.table import Table

from pixelwise import files, run_folder
from pixelwise.files import write_rows, write_text
from pixelwise.overrides import key_of
from pixelwise.sweep_report import job_rows, page, setting_rows

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
    scores = folder / "metrics.json"
    if outcome := files.read_json(folder / OUTCOME):
        return Job(folder.name, choices, outcome["state"], outcome["why"], _best(folder))
    if scores.is_file():
        return Job(folder.name, choices, "finished", "", _best(folder) | run_folder.read_scores(scores))
    return Job(folder.name, choices, "unfinished" if overrides.is_file() else "not started")


def _best(folder: Path) -> dict[str, float]:
    """The monitored score of the epoch that was chosen."""
    if not (folder / "config.yaml").is_file():
        return {}
    task = run_folder.load_config(folder).task
    values = validations(folder, task.monitor)
    return {f"best {task.monitor}": best_of(values, task.mode)} if values else {}


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
    names = dict.fromkeys(name for job in jobs for name in job.scores)
    return sorted(names, key=lambda name: (not name.startswith("best "), name.count("/"), name))


def shown_scores(jobs: Sequence[Job]) -> list[str]:
    """The few that people compare by: the monitored score, as it chose the epoch and as it ended."""
    names = score_names(jobs)
    best = [name for name in names if name.startswith("best ")]
    final = [f"{split}/{name.partition('/')[2]}" for name in best for split in ("test", "val")]
    return best + [name for name in final if name in names]


# --------------------------------------------------------------------------------------- writing tables
def write(sweep: Path) -> list[Job]:
    """Write the tables and the report of a sweep's folder, from what lies in it."""
    jobs = read(sweep)
    keys, groups, scores = differing(jobs), settings(jobs), score_names(jobs)
    rows: list[list[Any]] = [["job", *keys, "state", *scores]]
    for job in jobs:
        choices = [job.choices.get(key, "") for key in keys]
        rows.append([job.name, *choices, job.told, *(job.scores.get(score, "") for score in scores)])
    write_rows(sweep / "jobs.csv", rows)
    columns = [f"{score} {what}" for score in scores for what in ("mean", "sd")]
    rows = [[*(key for key in keys if key != "seed"), "runs", *columns]]
    for group in groups:
        numbers = [value for score in scores for value in (group.mean(score), group.sd(score))]
        cells = ["" if math.isnan(value) else value for value in numbers]
        rows.append([*group.choices.values(), len(group.jobs), *cells])
    write_rows(sweep / "settings.csv", rows)
    write_text(sweep / "report.html", page(sweep.name, jobs, keys, groups, shown_scores(jobs)))
    return jobs


def show(sweep: Path, hint: bool = True) -> None:
    """Print what became of each job, and the means over seeds; perhaps how to do the rest."""
    jobs = write(sweep)
    keys, groups, scores = differing(jobs), settings(jobs), shown_scores(jobs)
    console = Console(width=None if Console().is_terminal else 120)
    rows = job_rows(jobs, keys, scores)
    named = [row[1:] for row in rows] if keys else rows  # by what differs, or else by its folder
    console.print(_table(f"{sweep.name}: {len(jobs)} jobs", named, scores))
    if any(len(group.jobs) > 1 for group in groups):
        title = "mean ± standard deviation over seeds"
        console.print(_table(title, setting_rows(groups, keys, scores), scores))
    files = "jobs.csv,settings.csv,report.html"
    told = [f"tables and report: {sweep}/{{{files}}}"]
    if hint and any(job.state != "finished" for job in jobs):
        told.append(f"to do what is missing or failed, repeat the command with sweep.name={sweep.name}")
    console.print("\n".join(told), highlight=False, soft_wrap=True)


def _table(title: str, rows: Sequence[Sequence[str]], scores: Sequence[str]) -> Table:
    """A table for the terminal, of a header and rows, with the scores on the right of their columns."""
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for name in rows[0]:
        table.add_column(name, justify="right" if name in scores else "left")
    for row in rows[1:]:
        table.add_row(*row)
    return table
