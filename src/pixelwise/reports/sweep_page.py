"""The report of a sweep: one self-contained HTML file without scripts, with charts as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from pixelwise.reports.chart import ACCENT, BANDS, FAINT, INK, PANEL, new_figure, style, svg
from pixelwise.reports.html import number, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pixelwise.runs.sweep import Job, Setting


def short(choice: str) -> str:
    """The value of an override; long numbers are shortened to four digits."""
    try:
        return choice if len(choice) < 8 else f"{float(choice):.4g}"
    except ValueError:
        return choice


def spread(group: Setting, score: str) -> str:
    """Mean ± standard deviation over seeds; the mean alone for one seed."""
    sd = group.sd(score)
    return number(group.mean(score)) + ("" if math.isnan(sd) else f" ± {sd:.4f}")


def job_rows(jobs: Sequence[Job], keys: Sequence[str], scores: Sequence[str]) -> list[list[str]]:
    """A header and a row for each job: name, the overrides that differ, scores, state."""
    rows = [["job", *keys, *scores, "state"]]
    for job in jobs:
        choices = [short(job.choices.get(key, "")) for key in keys]
        rows.append([job.name, *choices, *(number(job.scores.get(score)) for score in scores), job.status])
    return rows


def setting_rows(groups: Sequence[Setting], keys: Sequence[str], scores: Sequence[str]) -> list[list[str]]:
    """A header and a row for each setting: overrides without the seed, mean scores, number of runs."""
    rows = [[*(key for key in keys if key != "seed"), *scores, "runs"]]
    for group in groups:
        numbers = [spread(group, score) for score in scores]
        rows.append([*map(short, group.choices.values()), *numbers, str(len(group.jobs))])
    return rows


def page(
    title: str, jobs: Sequence[Job], keys: Sequence[str], groups: Sequence[Setting], scores: Sequence[str]
) -> str:
    """The report of a sweep as HTML.

    Args:
        title: the sweep's name.
        jobs: all jobs.
        keys: keys whose overrides differ between the jobs.
        groups: the finished jobs by setting.
        scores: names of the scores to show; charts use the first.
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
    """An HTML table from a header and rows; columns of scores are aligned as numbers."""

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
    """Box plot with a row for each setting: quartiles, median, and a dot for each seed."""
    drawn = [
        ((", ".join(f"{k}={short(v)}" for k, v in g.choices.items()) or "all")[-48:], g.values(score))
        for g in groups
    ][::-1]
    drawn = [(label, values) for label, values in drawn if values]
    if not drawn:
        return ""
    figure = new_figure(560 + 6 * max(len(label) for label, _ in drawn), 30 * len(drawn) + 40)
    axes = figure.subplots()
    style(axes)
    for row, (label, values) in enumerate(drawn):
        box = {"facecolor": BANDS[1], "edgecolor": ACCENT}
        axes.boxplot(
            values if len(values) > 1 else [],
            positions=[row],
            orientation="horizontal",
            widths=0.5,
            tick_labels=[label],
            patch_artist=True,
            showfliers=False,
            showcaps=False,
            boxprops=box,
            medianprops={"color": ACCENT, "lw": 2},
            whiskerprops={"lw": 0},
        )
        axes.plot(values, [row] * len(values), "o", color=ACCENT, ms=5)
    axes.tick_params(axis="y", colors=INK, length=0)
    return _figure(figure, f"{score} of each setting, a dot for each seed", {})


def parallel(jobs: Sequence[Job], keys: Sequence[str], score: str) -> str:
    """Parallel coordinates: an axis for each key and one for the score, and a line for each scored job."""
    jobs = [job for job in jobs if math.isfinite(job.scores.get(score, math.nan))]
    if len(jobs) < 2:
        return "<p>This chart needs at least two jobs with a score.</p>"
    low, high = _range([job.scores[score] for job in jobs])
    places = [_places([job.choices.get(key, "") for job in jobs]) for key in keys]
    figure = new_figure(170 * len(keys) + 160, 300)
    axes = figure.subplots()
    style(axes)
    titles = {f"job-{i}": f"{job.name}: {number(job.scores[score])}" for i, job in enumerate(jobs)}
    for gid, job in zip(titles, jobs, strict=True):
        shares = [place[job.choices.get(key, "")] for key, place in zip(keys, places, strict=True)]
        shares.append((job.scores[score] - low) / (high - low))
        axes.plot(shares, color=ACCENT, alpha=0.7, lw=1.5, gid=gid)
    for at, axis in enumerate([*places, {f"{low:.3f}": 0.0, f"{high:.3f}": 1.0}]):
        axes.axvline(at, color=FAINT, lw=1)
        for label, place in axis.items() if len(axis) <= 12 else list(axis.items())[:: len(axis) - 1]:
            box = {"facecolor": PANEL, "lw": 0, "pad": 1, "alpha": 0.8}
            axes.text(at + 0.04, place, short(label)[:22], color=INK, va="center", size=11, bbox=box)
    axes.set_xlim(-0.15, len(keys) + 0.4)
    axes.set_xticks(range(len(keys) + 1), [name[-24:] for name in (*keys, score)])
    axes.xaxis.tick_top()
    axes.tick_params(axis="x", colors=INK, length=0)
    axes.yaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    return _figure(figure, f"each job's choices and its {score}", titles)


def _places(labels: Sequence[str]) -> dict[str, float]:
    """Position of each label on its axis, from 0 to 1: by value if all are numbers, else in sorted order."""
    try:
        values = {label: float(label) for label in labels}
    except ValueError:
        distinct = sorted(set(labels))
        return {label: (i + 0.5) / len(distinct) for i, label in enumerate(distinct)}
    if min(values.values()) > 0 and max(values.values()) >= 20 * min(values.values()):
        values = {label: math.log(value) for label, value in values.items()}  # such as learning rates
    low, high = _range(list(values.values()))
    return {
        label: (value - low) / (high - low) for label, value in sorted(values.items(), key=lambda v: v[1])
    }


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _figure(figure: Figure, title: str, titles: Mapping[str, str]) -> str:
    """A chart that shrinks with its page down to a readable size."""
    width = 72 * figure.get_figwidth()
    return (
        f'<div class="charts wide"><figure><figcaption>{escape(title)}</figcaption><div class="scroll">'
        f'<div style="max-width: {width:.0f}px; min-width: {0.7 * width:.0f}px">'
        f"{svg(figure, title, titles)}</div></div></figure></div>"
    )
