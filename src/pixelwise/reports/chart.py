"""Matplotlib charts as SVG. Colours and fonts come from the style sheet of the page, light or dark."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # imported only to draw, because importing it is slow
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = Sequence[tuple[float, float]]
"""(x, y) in order of x."""

VARIABLES = ("ink", "faint", "rule", "accent", "panel", "band", "band-other", *(f"s{n}" for n in range(8)))
"""Names of the colours in the style sheet."""
_STAND_INS = {name: f"#0f0f{number:02x}" for number, name in enumerate(VARIABLES)}
INK, FAINT, RULE, ACCENT, PANEL = (_STAND_INS[name] for name in VARIABLES[:5])
BANDS = [_STAND_INS["band"], _STAND_INS["band-other"]]
COLOURS = [_STAND_INS[f"s{n}"] for n in range(8)]
"""Colours of lines; further lines repeat them with dashes."""

MOST_DOTS = 30
"""Largest number of points of a line that are drawn as dots with their values."""


def new_figure(width: float, height: float) -> Figure:
    """An empty figure; `width` and `height` are pixels of the page."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width / 72, height / 72), dpi=72, layout="constrained")


def style(axes: Axes) -> None:
    """Give axes the colours of the page, and no frame except the base line."""
    axes.tick_params(colors=FAINT, labelsize=11, length=3)
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    axes.set_axisbelow(True)


def svg(figure: Figure, description: str, titles: Mapping[str, str]) -> str:
    """Render a figure as an SVG element of a page.

    Args:
        figure: a figure drawn with the colours of this module.
        description: text alternative for screen readers.
        titles: tooltips by the `gid` of an artist.
    """
    from matplotlib import rc_context

    stream = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "pixelwise", "axes.unicode_minus": True}):
        figure.savefig(stream, format="svg", transparent=True)
    head, _, content = stream.getvalue().partition("</metadata>")
    box = re.search(r'viewBox="[^"]*"', head)
    assert box is not None
    content = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>|<!--.*?-->", "", content, flags=re.DOTALL)
    for gid, title in titles.items():
        content = content.replace(f'<g id="{gid}">', f"<g><title>{escape(title)}</title>")
    content = re.sub(r'<g id="[^"]*"', "<g", content)
    content = re.sub(r"\s*\n\s*", " ", content)
    for name, colour in _STAND_INS.items():
        content = content.replace(colour, f"var(--{name})")
    return f'<svg class="chart" {box[0]} role="img" aria-label="{escape(description)}">{content.strip()}'


def line_chart(
    lines: Mapping[str, Points],
    description: str,
    x_label: str = "epoch",
    bands: Sequence[tuple[str, float, float]] = (),
    mark: tuple[str, float] | None = None,
    limits: tuple[float, float] | None = None,
    logarithmic: bool = False,
) -> str:
    """Draw lines over a common axis, with phases as bands behind them; "" without any point.

    Args:
        lines: the points of each line by its name; points that are not finite are left out.
        description: text alternative for screen readers.
        x_label: label of the x axis.
        bands: (name, start, stop) of each phase on the x axis.
        mark: (name, x) of a vertical line.
        limits: limits of the y axis; None fits the points.
        logarithmic: use a logarithmic y axis; points that are not positive are left out.
    """
    low = 0.0 if logarithmic else -math.inf
    kept = {n: [(x, y) for x, y in p if math.isfinite(y) and y > low] for n, p in lines.items()}
    if not any(kept.values()):
        return ""
    figure = new_figure(460, 280)
    axes = figure.subplots()
    style(axes)
    axes.grid(axis="y", color=RULE, lw=0.6)
    axes.set_xlabel(x_label, color=FAINT, size=11)
    axes.set_yscale("log" if logarithmic else "linear")
    titles: dict[str, str] = {}
    for number, (name, start, stop) in enumerate(bands):
        titles[f"band-{number}"] = f"phase {name}"
        axes.axvspan(start, stop, color=BANDS[number % 2], lw=0, gid=f"band-{number}")
    for number, (name, points) in enumerate(kept.items()):
        options: dict[str, Any] = {"color": COLOURS[number % len(COLOURS)], "lw": 1.8}
        axes.plot(*zip(*points, strict=True), ls=_dashes(number), **options) if points else None
        for at, value in points if len(points) <= MOST_DOTS else ():
            gid = f"dot-{len(titles)}"
            titles[gid] = f"{name}: {value:.4g} at {at:.4g}"
            axes.plot(at, value, "o", ms=5, gid=gid, **options)
    if limits is not None:
        axes.set_ylim(*limits)
    axes.set_xlim(min(0, axes.dataLim.x0), axes.dataLim.x1)
    axes.minorticks_off()
    _name_bands(axes, bands)
    if mark is not None:
        axes.axvline(mark[1], color=INK, ls=":", lw=1)
        right = 2 * mark[1] < sum(axes.get_xlim())
        box = {"facecolor": PANEL, "lw": 0, "pad": 2, "alpha": 0.8}
        options = {"ha": "left" if right else "right", "color": INK, "size": 11, "bbox": box}
        name = f" {mark[0]} "
        axes.text(mark[1], 0.5, name, transform=axes.get_xaxis_transform(), **options)
    names = "".join(
        f'<li><svg width="22" height="10" aria-hidden="true"><line class="s{number % len(COLOURS)}'
        f'{" dashed" * (number >= len(COLOURS))}" x1="0" x2="22" y1="5" y2="5"/></svg>{escape(name)}</li>'
        for number, name in enumerate(kept)
    )
    return svg(figure, description, titles) + f'<ul class="legend" aria-hidden="true">{names}</ul>'


def _dashes(number: int) -> str:
    return "-" if number < len(COLOURS) else "--"


def _name_bands(axes: Axes, bands: Sequence[tuple[str, float, float]]) -> None:
    """Write the names of the phases above their bands, if the bands are wide enough."""
    left, right = axes.get_xlim()
    for name, start, stop in bands:
        if len(name) * 7 < 390 * (stop - start) / (right - left):
            place = ((start + stop) / 2, 1.02)
            axes.text(*place, name, transform=axes.get_xaxis_transform(), ha="center", color=FAINT, size=11)
