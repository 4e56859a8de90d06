"""The report of a sweep: one HTML file without scripts that opens from disk, with drawings as SVG."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from pixelwise.reports.html import number, render

if TYPE_CHECKING:
    from pixelwise.runs.sweep import Job, Setting


def short(choice: str) -> str:
    """A choice as it was typed, a long number with four digits."""
    try:
        return choice if len(choice) < 8 else f"{float(choice):.4g}"
    except ValueError:
        return choice


def spread(group: Setting, score: str) -> str:
    """Mean ± standard deviation over seeds; the mean alone for one seed."""
    sd = group.sd(score)
    return number(group.mean(score)) + ("" if math.isnan(sd) else f" ± {sd:.4f}")


def job_rows(jobs: Sequence[Job], keys: Sequence[str], scores: Sequence[str]) -> list[list[str]]:
    """A header and a row a job: name, what differs, scores, state."""
    rows = [["job", *keys, *scores, "state"]]
    for job in jobs:
        choices = [short(job.choices.get(key, "")) for key in keys]
        rows.append([job.name, *choices, *(number(job.scores.get(score)) for score in scores), job.told])
    return rows


def setting_rows(groups: Sequence[Setting], keys: Sequence[str], scores: Sequence[str]) -> list[list[str]]:
    """A header and a row a setting: what differs but the seed, means with deviations, number of runs."""
    rows = [[*(key for key in keys if key != "seed"), *scores, "runs"]]
    for group in groups:
        numbers = [spread(group, score) for score in scores]
        rows.append([*map(short, group.choices.values()), *numbers, str(len(group.jobs))])
    return rows


def page(
    title: str, jobs: Sequence[Job], keys: Sequence[str], groups: Sequence[Setting], scores: Sequence[str]
) -> str:
    """The whole file.

    Args:
        title: the sweep's name.
        jobs: all of them.
        keys: what differs between them.
        groups: the finished ones by setting.
        scores: those to show; drawings take the first.
    """
    states = [job.state for job in jobs]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    parts: list[str] = []
    if any(len(group.jobs) > 1 for group in groups) and scores:
        parts += [
            "<h2>Settings over seeds</h2>",
            _table(setting_rows(groups, keys, scores), scores),
            boxes(groups, scores[0]),
        ]
    if keys and scores:
        parts += ["<h2>All jobs in parallel</h2>", parallel(jobs, keys, scores[0])]
    parts += ["<h2>Jobs</h2>", _table(job_rows(jobs, keys, scores), scores)]
    return render("sweep.html", title=title, states=f"{len(jobs)} jobs: {counts}", parts=parts)


def _table(rows: Sequence[Sequence[str]], scores: Sequence[str]) -> str:
    """A header and rows, of which the columns of scores hold numbers."""

    def cells(tag: str, row: Sequence[str]) -> str:
        drawn = []
        for name, cell in zip(rows[0], row, strict=True):
            kind = "" if name in scores else "text failed" if cell.startswith("failed") else "text"
            drawn.append(f'<{tag} class="{kind}">{escape(cell)}</{tag}>')
        return "".join(drawn)

    head = f"<thead><tr>{cells('th', rows[0])}</tr></thead>"
    body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows[1:])
    return f'<div class="scroll"><table>{head}\n<tbody>{body}</tbody></table></div>'


def boxes(groups: Sequence[Setting], score: str) -> str:
    """A row a setting: a box from quartile to quartile with the median, and a dot for each seed."""
    drawn = [
        ((", ".join(f"{k}={short(v)}" for k, v in g.choices.items()) or "all")[-48:], g.values(score))
        for g in groups
    ]
    drawn = [(label, values) for label, values in drawn if values]
    if not drawn:
        return ""
    every = [value for _, values in drawn for value in values]
    low, high = _range(every)
    left, width, step = 24 + 7 * max(len(label) for label, _ in drawn), 460, 30
    height = step * len(drawn) + 40

    def x(value: float) -> float:
        return left + (value - low) / (high - low) * width

    parts = []
    for row, (label, values) in enumerate(drawn):
        y = 24 + step * row
        parts.append(_word(left - 10, y + 4, label, "end"))
        if len(values) > 1:
            first, median, third = statistics.quantiles(values, n=4, method="inclusive")
            parts.append(
                f'<rect class="box" x="{x(first):.1f}" y="{y - 8}" height="16" '
                f'width="{x(third) - x(first):.1f}"/>'
                f'<line class="box" x1="{x(median):.1f}" x2="{x(median):.1f}" y1="{y - 8}" y2="{y + 8}"/>'
            )
        parts += [f'<circle class="dot" cx="{x(value):.1f}" cy="{y}" r="3"/>' for value in values]
    y = height - 18
    parts.append(f'<line class="axis" x1="{left}" x2="{left + width}" y1="{y}" y2="{y}"/>')
    parts += [_word(x(value), y + 15, f"{value:.3f}") for value in (low, (low + high) / 2, high)]
    return _svg(left + width + 40, height, f"{score} of each setting, a dot for each seed", parts)


def parallel(jobs: Sequence[Job], keys: Sequence[str], score: str) -> str:
    """An axis for each key that differs and one for the score; a line for each job that has one."""
    jobs = [job for job in jobs if math.isfinite(job.scores.get(score, math.nan))]
    if len(jobs) < 2:
        return "<p>Drawn from two scored jobs on.</p>"
    gap, top, height = 170, 40, 260
    low, high = _range([job.scores[score] for job in jobs])
    places = [_places([job.choices.get(key, "") for job in jobs]) for key in keys]
    parts = []
    for job in jobs:
        shares = [place[job.choices.get(key, "")] for key, place in zip(keys, places, strict=True)]
        shares.append((job.scores[score] - low) / (high - low))
        points = " ".join(f"{80 + gap * i},{top + (1 - s) * height:.1f}" for i, s in enumerate(shares))
        said = f"{job.name}: {number(job.scores[score])}"
        parts.append(f'<polyline class="job" points="{points}"><title>{escape(said)}</title></polyline>')
    for i, axis in enumerate([*places, {f"{high:.3f}": 1.0, f"{low:.3f}": 0.0}]):
        x = 80 + gap * i
        name = score if i == len(keys) else keys[i]
        parts.append(f'<line class="axis" x1="{x}" x2="{x}" y1="{top}" y2="{top + height}"/>')
        parts.append(_word(x, 18, name[-24:]))
        for label, place in axis.items() if len(axis) <= 12 else list(axis.items())[:: len(axis) - 1]:
            parts.append(_word(x + 6, top + (1 - place) * height + 4, short(label)[:22], "start"))
    return _svg(160 + gap * len(keys), top + height + 20, f"each job's choices and its {score}", parts)


def _places(labels: Sequence[str]) -> dict[str, float]:
    """Where each label stands on its axis, between 0 and 1: by value if all are numbers, else in order."""
    try:
        values = {label: float(label) for label in labels}
    except ValueError:
        distinct = sorted(set(labels))
        return {label: (i + 0.5) / len(distinct) for i, label in enumerate(distinct)}
    if min(values.values()) > 0 and max(values.values()) >= 20 * min(values.values()):
        values = {label: math.log(value) for label, value in values.items()}  # learning rates and the like
    low, high = _range(list(values.values()))
    return {
        label: (value - low) / (high - low) for label, value in sorted(values.items(), key=lambda v: v[1])
    }


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _word(x: float, y: float, word: str, anchor: str = "middle") -> str:
    return f'<text class="word" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(word)}</text>'


def _svg(width: int, height: int, said: str, parts: Sequence[str]) -> str:
    """A drawing that shrinks with its page, but not so far that its words cannot be read."""
    sides = f"max-width: {width}px; min-width: {0.7 * width:.0f}px"
    return (
        f'<div class="charts wide"><figure><figcaption>{escape(said)}</figcaption><div class="scroll">'
        f'<svg class="chart" role="img" viewBox="0 0 {width} {height}" style="{sides}">'
        f"<title>{escape(said)}</title>{''.join(parts)}</svg></div></figure></div>"
    )
