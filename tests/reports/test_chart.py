"""Charts as SVG: what is drawn, what is told, what is left out, and that a page can hold them."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import pytest

from pixelwise.reports.chart import MOST_DOTS, Points, line_chart

pytestmark = pytest.mark.fast


def dots(svg: str, name: str = "a") -> list[tuple[float, float]]:
    """(x, y) that the chart tells beside the pointer."""
    found = re.findall(rf"<title>{name}: (\S+) at (\S+)</title>", svg)
    return [(float(x), float(y)) for y, x in found]


def places(svg: str) -> list[tuple[float, float]]:
    """Where the dots lie, in order, in pixels from the upper left."""
    return [
        (float(x), float(y))
        for x, y in re.findall(r'<use [^>]*x="([\d.]+)" y="([\d.]+)" style="fill: var', svg)
    ]


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(f'<div xmlns:xlink="http://www.w3.org/1999/xlink">{svg}</div>')


@pytest.mark.parametrize("logarithmic", [False, True])
def test_points_lie_where_their_values_say(logarithmic: bool) -> None:
    points: Points = [(0, 1), (1, 10), (2, 100 if logarithmic else 19)]
    svg = line_chart({"a": points}, "told", logarithmic=logarithmic)
    assert dots(svg) == points
    (x0, y0), (x1, y1), (x2, y2) = places(svg)[-3:]
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.01)
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.01)
    assert y0 > y1


def test_a_logarithmic_axis_leaves_out_what_has_no_logarithm() -> None:
    svg = line_chart({"a": [(0, 0), (1, 1e-4), (2, -1), (3, 1e-2)]}, "told", logarithmic=True)
    assert dots(svg) == [(1, 1e-4), (3, 1e-2)]


def test_undefined_points_are_left_out_and_nothing_is_no_chart() -> None:
    assert dots(line_chart({"a": [(0, math.nan), (1, 2), (2, 3), (3, math.inf)]}, "")) == [(1, 2), (2, 3)]
    assert line_chart({"a": [(0, math.nan)], "b": []}, "") == ""
    assert dots(line_chart({"b": [(0, math.nan)], "a": [(1, 2)]}, "")) == [(1, 2)]


def test_a_long_line_has_no_dots() -> None:
    assert dots(line_chart({"a": [(i, i) for i in range(MOST_DOTS + 1)]}, "")) == []


def test_names_are_escaped_and_it_is_well_formed() -> None:
    svg = line_chart({"<&>": [(0, 1), (1, 2)]}, 'says "a<b"', bands=[("<b>", 0, 1)], mark=("&", 0.5))
    tree = parsed(svg)
    assert tree[0].get("aria-label") == 'says "a<b"'
    assert "<&>" in "".join(tree[1].itertext())
    texts = "".join(tree[0].itertext())
    assert "phase <b>" in texts
    assert "&" in texts


def test_a_chart_takes_its_colours_from_the_page_and_nothing_from_the_network() -> None:
    names = [f"line {number}" for number in range(10)]
    bands = [("one", 0, 1), ("two", 1, 2)]
    lines: dict[str, Points] = {name: [(0, 1), (2, 2)] for name in names}
    svg = line_chart(lines, "told", bands=bands, mark=("here", 1))
    assert {"var(--s0)", "var(--s7)", "var(--band)", "var(--band-other)", "var(--ink)", "var(--faint)"} <= {
        *re.findall(r"var\(--[\w-]+\)", svg)
    }
    assert not re.findall(r"(?:fill|stroke): (#\w+)", svg), "a colour that stays in a dark page"
    assert "http" not in svg
    assert "<style" not in svg
    assert svg == line_chart(
        {name: [(0, 1), (2, 2)] for name in names}, "told", bands=bands, mark=("here", 1)
    )


def test_names_of_narrow_phases_are_told_but_not_drawn() -> None:
    svg = line_chart({"a": [(0, 1), (10, 2)]}, "", bands=[("frozen", 0, 0.2), ("fine-tuning", 0.2, 10)])
    assert re.findall(r"<title>phase ([^<]*)</title>", svg) == ["frozen", "fine-tuning"]
    assert re.findall(r"<text[^>]*>([a-z-]+)</text>", svg) == ["epoch", "fine-tuning"]
