"""Charts of the logged values of a run, with the phases of its schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from statistics import fmean
from typing import Any

from pixelwise.protocols import ScoreName
from pixelwise.reports.chart import Points, line_chart
from pixelwise.runs.reader import RunReader

MOST_LINES = 10
"""Largest number of classes in one chart: those with the lowest final scores."""
MOST_POINTS = 300
"""Largest number of points of a line; longer lines are averaged."""


def charts(run: RunReader) -> dict[str, str]:
    """All charts of a run as SVG by title; charts without points are left out."""
    per_epoch, unit = (run.plan["steps_per_epoch"], "epoch") if run.plan else (1, "step")
    bands = [(p["name"], p["start"] / per_epoch, p["stop"] / per_epoch) for p in run.plan.get("phases", [])]
    line = partial(run.line, per_epoch=per_epoch)
    names = [run.parsed(name) for name in sorted({name for row in run.rows for name in row})]
    speed = [(row["step"] / per_epoch, row["images_per_s"]) for row in run.speed]
    kind = "iou" if any(name.kind == "iou" for name in names) else "f1"
    drawn: dict[str, tuple[dict[str, Points], dict[str, Any]]] = {
        "Loss": ({name: line(name) for name in ("train/loss", "val/loss")}, {}),
        "Validation scores": ({str(name): line(str(name)) for name in means(run, names)}, {}),
        f"Validation {kind} by class": (
            {str(name.class_name): line(str(name)) for name in weakest(run, names, kind)},
            {},
        ),
        "Learning-rate plan": rates(run, per_epoch),
        "Throughput in images/s": (
            {"training": speed},
            {"limits": (0.0, 1.1 * max((y for _, y in speed), default=1.0))},
        ),
    }
    rendered = {}
    for title, (lines, options) in drawn.items():
        thinned = {name: thin(points) for name, points in lines.items() if points}
        description = f"{title}. " + "; ".join(describe(name, points) for name, points in thinned.items())
        if chart := line_chart(thinned, description, unit, bands, **options):
            rendered[title] = chart
    return rendered


def means(run: RunReader, names: Iterable[ScoreName]) -> list[ScoreName]:
    """Validation scores over all classes, the monitored score first."""
    kept = [name for name in names if name.split == "val" and name.class_name is None and not name.is_loss]
    return sorted(kept, key=lambda name: str(name) != run.config["task"]["monitor"])


def weakest(run: RunReader, names: Iterable[ScoreName], kind: str) -> list[ScoreName]:
    """Validation columns of one score for the classes with the lowest final values, in class order."""
    columns = [n for n in names if n.split == "val" and n.kind == kind and n.class_name is not None]
    end = {name: run.line(str(name), 1)[-1][1] for name in columns}
    kept = sorted(columns, key=lambda name: end[name])[:MOST_LINES]
    return sorted(kept, key=lambda name: run.classes.index(str(name.class_name)))


def rates(run: RunReader, per_epoch: float) -> tuple[dict[str, Points], dict[str, Any]]:
    """Planned learning rates, one line for parts with equal rates, and the options of their chart."""
    parts: dict[tuple[float, ...], list[str]] = {}
    for part, values in run.plan.get("lr", {}).items():
        parts.setdefault(tuple(values), []).append(part)
    at = [step / per_epoch for step in run.plan.get("at", [])]
    lines: dict[str, Points] = {
        ", ".join(same): list(zip(at, values, strict=True)) for values, same in parts.items()
    }
    peaks = [peak for values in parts if (peak := max(values)) > 0]
    mark = None if run.finished and run.stopped_at is None else ("stopped here", run.steps / per_epoch)
    return lines, {"logarithmic": bool(peaks) and max(peaks) > 20 * min(peaks), "mark": mark}


def thin(points: Points) -> Points:
    """Reduce a line to at most `MOST_POINTS` points, each the mean of neighbouring points."""
    size = math.ceil(len(points) / MOST_POINTS)
    if size == 1:
        return points
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return [(fmean(x for x, _ in part), fmean(y for _, y in part)) for part in parts]


def describe(name: str, points: Points) -> str:
    """A line in words: its first and last defined value."""
    defined = [y for _, y in points if math.isfinite(y)]
    return f"{name}: from {defined[0]:.3g} to {defined[-1]:.3g}" if defined else f"{name}: undefined"
