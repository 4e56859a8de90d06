"""Arguments from a config: what is taken, and what the message says of the rest."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from omegaconf import OmegaConf

from pixelwise import checks
from pixelwise.errors import UserError

pytestmark = pytest.mark.fast

NO_NUMBERS = [None, "1", True, math.nan, math.inf, [1]]


def message_lines(check: Callable[..., Any], *arguments: Any, **options: Any) -> list[str]:
    with pytest.raises(UserError) as caught:
        check("some.key", *arguments, **options)
    lines = str(caught.value).splitlines()
    assert lines[0] == "some.key"
    return [" ".join(line.split()) for line in lines[1:]]


@pytest.mark.parametrize(
    ("limits", "inside", "outside", "words"),
    [
        ({"low": 0, "high": 1}, [0, 0.5, 1], [-0.1, 1.1], "from 0 to 1"),
        ({"low": 0, "below": 1}, [0, 0.999], [1, -1], "from 0 to below 1"),
        ({"above": 0, "high": 8}, [1e-9, 8], [0, 9], "above 0 to 8"),
        ({"above": 0}, [1e9], [0], "above 0"),
        ({"low": 1}, [1, 1e9], [0.9], "from 1"),
        ({"high": 3}, [-9, 3], [4], "up to 3"),
        ({}, [-1e9, 0], [], ""),
    ],
)
def test_a_number_is_within_its_limits(limits: dict, inside: list, outside: list, words: str) -> None:
    for value in inside:
        assert checks.number("some.key", value, **limits) == value
    for value in [*outside, *NO_NUMBERS]:
        assert message_lines(checks.number, value, **limits)[-1] == f"expected: a number {words}".strip()


@pytest.mark.parametrize("value", [*NO_NUMBERS, 1.0, 0, 10])
def test_a_whole_number_is_no_float(value: Any) -> None:
    assert checks.whole("some.key", 3, 1, 9) == 3
    assert message_lines(checks.whole, value, 1, 9)[-1] == "expected: a whole number from 1 to 9"


def test_a_strength_says_how_to_switch_it_off() -> None:
    assert message_lines(checks.strength, 2, 1) == [
        "found: 2",
        "expected: a number from 0 to 1",
        "fix: some.key=0 switches it off",
    ]


@pytest.mark.parametrize("values", [None, "12", 1, [1], [1, 2, 3], [1, "2"], [1, 0], [1, math.nan]])
def test_numbers_are_as_many_as_asked(values: Any) -> None:
    assert checks.numbers("some.key", OmegaConf.create([1, 0.5]), 2, above=0) == [1, 0.5]
    assert (
        message_lines(checks.numbers, values, 2, above=0)[1] == "expected: 2 numbers above 0, one per channel"
    )


@pytest.mark.parametrize("value", [None, 1, "12", [1], [2, 1], [0, 1], [1, "2"], [1, math.inf]])
def test_an_interval_is_two_rising_numbers(value: Any) -> None:
    assert checks.interval("some.key", (0.5, 2)) == (0.5, 2)
    assert message_lines(checks.interval, value)[1] == "expected: [low, high] with 0 < low <= high"


@pytest.mark.parametrize("value", [None, 0, -1, 1.5, True, "64", [64], [64, 0], [64, 6.5], [1, 2, 3]])
def test_an_extent_is_pixels(value: Any) -> None:
    assert checks.extent("some.key", 64) == (64, 64)
    assert checks.extent("some.key", OmegaConf.create([64, 96])) == (64, 96)
    assert message_lines(checks.extent, value)[1].startswith("expected: a positive number of pixels")


@pytest.mark.parametrize(("value", "shown"), [(None, "null"), ("1", "'1'"), (1, "1"), ([1, "a"], "[1, 'a']")])
def test_a_value_is_shown_as_a_config_has_it(value: Any, shown: str) -> None:
    assert message_lines(checks.whole, value, 2)[0] == f"found: {shown}"
