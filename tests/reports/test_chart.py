"""Charts as SVG: points, tooltips, colours and well-formed output."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import pytest

from pixelwise.reports.chart import MOST_DOTS, Points, line_chart

pytestmark = pytest.mark.fast


def dots(svg: str, name: str = "a") -> list[tuple[float, float]]:
    """The (x, y) in the tooltips of a chart."""
    tooltips = re.findall(rf"<title>{name}: (\S+) at (\S+)</title>", svg)
    return [(float(x), float(y)) for y, x in tooltips]


def places(svg: str) -> list[tuple[float, float]]:
    """Positions of the dots, in order, in pixels from the upper left."""
    return [
        (float(x), float(y))
        for x, y in re.findall(r'<use [^>]*x="([\d.]+)" y="([\d.]+)" style="fill: var', svg)
    ]


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(f'<div xmlns:xlink="http://www.w3.org/1999/xlink">{svg}</div>')


@pytest.mark.parametrize("logarithmic", [False, True])
def test_dots_are_drawn_at_their_values(logarithmic: bool) -> None:
    points: Points = [(0, 1), (1, 10), (2, 100 if logarithmic else 19)]
    svg = line_chart({"a": points}, "a chart", logarithmic=logarithmic)
    assert dots(svg) == points
    (x0, y0), (x1, y1), (x2, y2) = places(svg)[-3:]
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.01)
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.01)
    assert y0 > y1


def test_logarithmic_axis_leaves_out_values_up_to_zero() -> None:
    svg = line_chart({"a": [(0, 0), (1, 1e-4), (2, -1), (3, 1e-2)]}, "a chart", logarithmic=True)
    assert dots(svg) == [(1, 1e-4), (3, 1e-2)]


def test_undefined_points_are_left_out() -> None:
    assert dots(line_chart({"a": [(0, math.nan), (1, 2), (2, 3), (3, math.inf)]}, "")) == [(1, 2), (2, 3)]
    assert line_chart({"a": [(0, math.nan)], "b": []}, "") == ""
    assert dots(line_chart({"b": [(0, math.nan)], "a": [(1, 2)]}, "")) == [(1, 2)]


def test_a_long_line_has_no_dots() -> None:
    assert dots(line_chart({"a": [(i, i) for i in range(MOST_DOTS + 1)]}, "")) == []


def test_names_are_escaped_in_well_formed_svg() -> None:
    svg = line_chart({"<&>": [(0, 1), (1, 2)]}, 'says "a<b"', bands=[("<b>", 0, 1)], mark=("&", 0.5))
    tree = parsed(svg)
    assert tree[0].get("aria-label") == 'says "a<b"'
    assert "<&>" in "".join(tree[1].itertext())
    texts = "".join(tree[0].itertext())
    assert "phase <b>" in texts
    assert "&" in texts


def test_colours_come_from_the_page_without_network_access() -> None:
    names = [f"line {number}" for number in range(10)]
    bands = [("one", 0, 1), ("two", 1, 2)]
    lines: dict[str, Points] = {name: [(0, 1), (2, 2)] for name in names}
    svg = line_chart(lines, "a chart", bands=bands, mark=("here", 1))
    assert {"var(--s0)", "var(--s7)", "var(--band)", "var(--band-other)", "var(--ink)", "var(--faint)"} <= {
        *re.findall(r"var\(--[\w-]+\)", svg)
    }
    assert not re.findall(r"(?:fill|stroke): (#\w+)", svg), (
        "a colour that does not change with the theme of the page"
    )
    assert "http" not in svg
    assert "<style" not in svg
    assert svg == line_chart(
        {name: [(0, 1), (2, 2)] for name in names}, "a chart", bands=bands, mark=("here", 1)
    )


def test_names_of_narrow_phases_are_only_in_tooltips() -> None:
    svg = line_chart({"a": [(0, 1), (10, 2)]}, "", bands=[("frozen", 0, 0.2), ("fine-tuning", 0.2, 10)])
    assert re.findall(r"<title>phase ([^<]*)</title>", svg) == ["frozen", "fine-tuning"]
    assert re.findall(r"<text[^>]*>([a-z-]+)</text>", svg) == ["epoch", "fine-tuning"]
