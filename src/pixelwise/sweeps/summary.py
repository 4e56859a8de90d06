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
