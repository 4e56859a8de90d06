"""Comparison of the jobs of a sweep, or the trials of a search, with means over seeds.

| file in the sweep's folder | content |
|---|---|
| `jobs.json` | the jobs that the last command asked for, with their overrides |
| `jobs.csv` | a row for each job: the overrides that differ, state, all final scores |
| `settings.csv` | a row for each setting: number of seeds, mean and sample standard deviation of all scores |
| `report.html` | both tables, with charts |

Imports no torch, so that a finished sweep shows its tables at once.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from pixelwise.files import write_rows, write_text
from pixelwise.reports.sweep_page import job_rows, page, setting_rows
from pixelwise.runs.sweep import Job, differing, read, score_names, settings, shown_scores


# --------------------------------------------------------------------------------------- writing tables
def write(sweep: Path, output: Path | None = None) -> list[Job]:
    """Write the tables and the report of a sweep from the files in its folder; return its jobs.

    Args:
        sweep: the folder of the sweep.
        output: the folder to write to; None for that of the sweep.
    """
    output = output or sweep
    jobs = read(sweep)
    keys, groups, scores = differing(jobs), settings(jobs), score_names(jobs)
    rows: list[list[Any]] = [["job", *keys, "state", *scores]]
    for job in jobs:
        choices = [job.choices.get(key, "") for key in keys]
        rows.append([job.name, *choices, job.status, *(job.scores.get(score, "") for score in scores)])
    write_rows(output / "jobs.csv", rows)
    columns = [f"{score} {statistic}" for score in scores for statistic in ("mean", "sd")]
    rows = [[*(key for key in keys if key != "seed"), "runs", *columns]]
    for group in groups:
        numbers = [value for score in scores for value in (group.mean(score), group.sd(score))]
        cells = ["" if math.isnan(value) else value for value in numbers]
        rows.append([*group.choices.values(), len(group.jobs), *cells])
    write_rows(output / "settings.csv", rows)
    write_text(output / "report.html", page(sweep.name, jobs, keys, groups, shown_scores(jobs)))
    return jobs


def show(sweep: Path, hint: bool = True) -> None:
    """Print the state and scores of each job and the means over seeds; with `hint`, how to run the rest."""
    jobs = write(sweep)
    keys, groups, scores = differing(jobs), settings(jobs), shown_scores(jobs)
    console = Console(width=None if Console().is_terminal else 120, markup=False, emoji=False)
    rows = job_rows(jobs, keys, scores)
    shown = [row[1:] for row in rows] if keys else rows  # without the folder's name if keys tell jobs apart
    console.print(_table(f"{sweep.name}: {len(jobs)} jobs", shown, scores))
    if any(len(group.jobs) > 1 for group in groups):
        title = "mean ± standard deviation over seeds"
        console.print(_table(title, setting_rows(groups, keys, scores), scores))
    files = "jobs.csv,settings.csv,report.html"
    lines = [f"tables and report: {sweep}/{{{files}}}"]
    if hint and any(job.state != "finished" for job in jobs):
        again = shlex.quote(f"sweep.name={sweep.name}")
        lines.append(f"to run missing and failed jobs, repeat the command with {again}")
    console.print("\n".join(lines), highlight=False, soft_wrap=True)


def _table(title: str, rows: Sequence[Sequence[str]], scores: Sequence[str]) -> Table:
    """A terminal table from a header and rows; scores are right-aligned."""
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for name in rows[0]:
        table.add_column(name, justify="right" if name in scores else "left")
    for row in rows[1:]:
        table.add_row(*row)
    return table
