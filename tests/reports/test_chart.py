"""Charts as SVG: where points lie, what is told, what is left out."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import pytest

from pixelwise.reports.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, line_chart, ticks

pytestmark = pytest.mark.fast


def circles(svg: str) -> list[tuple[float, float]]:
    found = re.findall(r'<circle class="s0" cx="([\d.]+)" cy="([\d.]+)"', svg)
    return [(float(x), float(y)) for x, y in found]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 6, [0, 2, 4, 6]), (0.27, 0.83, [0.4, 0.6, 0.8]), (-3, 4, [-2, 0, 2, 4]), (2, 2, [2])],
)
def test_ticks_are_round_numbers_within(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_points_lie_where_their_values_say() -> None:
    svg = line_chart({"a": [(0, 0), (1, 0.5), (2, 1)]}, "told", limits=(0, 1))
    left, middle, right = circles(svg)
    assert left == (LEFT, HEIGHT - BOTTOM)
    assert right == (WIDTH - RIGHT, TOP)
    assert middle == ((LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2)


def test_a_logarithmic_axis_leaves_out_what_has_no_logarithm() -> None:
    svg = line_chart({"a": [(0, 0), (1, 1e-4), (2, 1e-3), (3, 1e-2)]}, "told", logarithmic=True)
    heights = [y for _, y in circles(svg)]
    assert len(heights) == 3
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.2)


def test_undefined_points_are_left_out_and_nothing_is_no_chart() -> None:
    assert len(circles(line_chart({"a": [(0, math.nan), (1, 2), (2, 3), (3, math.inf)]}, ""))) == 2
    assert line_chart({"a": [(0, math.nan)], "b": []}, "") == ""


def test_names_are_escaped_and_it_is_well_formed() -> None:
    svg = line_chart({"<&>": [(0, 1), (1, 2)]}, 'says "a<b"', bands=[("<b>", 0, 1)], mark=("&", 0.5))
    tree = ET.fromstring(f"<div>{svg}</div>")
    assert tree[0].get("aria-label") == 'says "a<b"'
    assert "<&>" in "".join(tree[1].itertext())
