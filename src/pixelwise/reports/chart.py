"""Line charts as SVG for a light or a dark web page: colours and fonts come from its style sheet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

Points = Sequence[tuple[float, float]]
"""(x, y) in order of x."""

WIDTH, HEIGHT = 460, 280
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 26, 40
MOST_DOTS = 30
"""Points of a line up to which each has a dot that tells its value."""
COLOURS = 8
"""Colours of lines that the style sheet has; dashes tell further lines apart."""


def line_chart(
    lines: Mapping[str, Points],
    description: str,
    x_label: str = "epoch",
    bands: Sequence[tuple[str, float, float]] = (),
    mark: tuple[str, float] | None = None,
    limits: tuple[float, float] | None = None,
    logarithmic: bool = False,
) -> str:
    """Lines over a common axis, the phases as bands behind them.

    Args:
        lines: the points of each line by its name; those that are not finite are left out.
        description: what the chart shows, for those who cannot see it.
        x_label: what x is.
        bands: (name, from, to) in x.
        mark: (name, x) of a vertical line.
        limits: of y; None takes those of the points.
        logarithmic: y on a logarithmic scale; points that are not positive are left out.
    """
    low = 0.0 if logarithmic else -math.inf
    kept = {n: [(x, y) for x, y in p if math.isfinite(y) and y > low] for n, p in lines.items()}
    points = [point for line in kept.values() for point in line]
    if not points:
        return ""
    axes = _Axes(points, bands, limits, logarithmic)
    content = [_band(axes, number, *band) for number, band in enumerate(bands)]
    content += axes.grid(x_label)
    if mark is not None:
        x = axes.x(mark[1])
        content.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        within = min(max(x, LEFT + 40), WIDTH - RIGHT - 40)
        content.append(f'<text class="mark-name" x="{within:.1f}" y="{HEIGHT / 2}">{escape(mark[0])}</text>')
    for number, (name, line) in enumerate(kept.items()):
        content.append(_line(axes, number, name, line))
    names = "".join(
        f'<li><svg width="22" height="10" aria-hidden="true"><line class="{_class(i)}" x1="0" x2="22" y1="5" '
        f'y2="5"/></svg>{escape(name)}</li>'
        for i, name in enumerate(kept)
    )
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(description)}">'
        + "".join(content)
        + f'</svg><ul class="legend" aria-hidden="true">{names}</ul>'
    )


class _Axes:
    """From values to places on the drawing."""

    def __init__(
        self,
        points: Points,
        bands: Sequence[tuple[str, float, float]],
        limits: tuple[float, float] | None,
        logarithmic: bool,
    ) -> None:
        xs = [x for x, _ in points] + [x for _, *ends in bands for x in ends]
        ys = [y for _, y in points] if limits is None else list(limits)
        self.scale = math.log10 if logarithmic else float
        self.x0, self.x1 = min(0.0, *xs), max(xs)
        self.y0, self.y1 = self.scale(min(ys)), self.scale(max(ys))
        self.logarithmic = logarithmic
        margin = 0.05 * (self.y1 - self.y0) or 0.5
        if limits is None:
            self.y0, self.y1 = self.y0 - margin, self.y1 + margin

    def x(self, value: float) -> float:
        """Place of an x."""
        return LEFT + (value - self.x0) / ((self.x1 - self.x0) or 1) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Place of a y."""
        share = (self.scale(value) - self.y0) / (self.y1 - self.y0)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def grid(self, x_label: str) -> list[str]:
        """Lines at round numbers, with these."""
        drawn = []
        for value in self._y_ticks():
            y = self.y(value)
            drawn.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            drawn.append(f'<text class="tick y" x="{LEFT - 6}" y="{y + 4:.1f}">{value:g}</text>')
        for value in ticks(self.x0, self.x1):
            x, y = self.x(value), HEIGHT - BOTTOM
            drawn.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{y + 4}"/>')
            drawn.append(f'<text class="tick x" x="{x:.1f}" y="{y + 17}">{value:g}</text>')
        y = HEIGHT - BOTTOM
        drawn.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        drawn.append(
            f'<text class="tick x" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}">{x_label}</text>'
        )
        return drawn

    def _y_ticks(self) -> list[float]:
        if not self.logarithmic:
            return ticks(self.y0, self.y1)
        powers = range(math.ceil(self.y0 - 1e-9), math.floor(self.y1 + 1e-9) + 1)
        digits = (1, 2, 5) if len(powers) < 3 else (1,)
        values = [d * 10.0**p for p in range(math.floor(self.y0), math.ceil(self.y1) + 1) for d in digits]
        return [value for value in values if self.y0 <= math.log10(value) <= self.y1]


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers between two others, some five of them."""
    if high <= low:
        return [low]
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _band(axes: _Axes, number: int, name: str, start: float, stop: float) -> str:
    left, right = axes.x(start), axes.x(stop)
    size = f'width="{right - left:.1f}" height="{HEIGHT - TOP - BOTTOM}"'
    shown = name if len(name) * 7 < right - left else ""
    return (
        f'<rect class="band b{number % 2}" x="{left:.1f}" y="{TOP}" {size}>'
        f"<title>phase {escape(name)}</title></rect>"
        f'<text class="band-name" x="{(left + right) / 2:.1f}" y="{TOP - 8}">{escape(shown)}</text>'
    )


def _line(axes: _Axes, number: int, name: str, line: Points) -> str:
    places = [(axes.x(x), axes.y(y)) for x, y in line]
    drawn = f'<polyline class="{_class(number)}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>'
    if len(line) <= MOST_DOTS:
        for (x, y), (at, value) in zip(places, line, strict=True):
            told = f"{escape(name)}: {value:.4g} at {at:.4g}"
            circle = f'class="{_class(number)}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"'
            drawn += f"<circle {circle}><title>{told}</title></circle>"
    return drawn


def _class(number: int) -> str:
    return f"s{number % COLOURS}" + (" dashed" if number >= COLOURS else "")
