"""Values compared with annotations: what is admitted, and how messages put the rest into words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import numpy as np
import pytest
from omegaconf import OmegaConf
from tests.helpers import refused

from pixelwise import checks
from pixelwise.kinds import Colour, Count, Fraction, Interval, Positive, Range, Share, Size, sides

pytestmark = pytest.mark.fast


class Section(TypedDict, total=False):
    lr: Positive
    name: str


CASES: list[tuple[Any, list[Any], list[Any], str]] = [
    (bool, [True, False], [0, 1, "true", None], "true or false"),
    (int, [0, -3, np.int64(2)], [1.0, True, "1", math.nan, None], "a whole number"),
    (float, [0, -3, 1.5, np.float32(2)], [True, "1", math.nan, math.inf, None], "a number"),
    (str, ["", "1"], [1, None, ["a"]], "text"),
    (str | Path, ["a", Path("a")], [1, None], "text or a path"),
    (Count | None, [1, None], [0, 1.0], "a whole number from 1, or null"),
    (Share, [0, 0.5, 1], [-0.1, 1.1], "a number from 0 to 1"),
    (Fraction, [0, 0.999], [1, -1], "a number from 0 to below 1"),
    (Annotated[float, Range(above=0, high=8)], [1e-9, 8], [0, 9], "a number above 0 to 8"),
    (Annotated[float, Range(high=3)], [-9, 3], [4], "a number up to 3"),
    (Literal["max", "min"], ["max"], ["mix", 1, None], "max or min"),
    (bool | Literal["warn"], [True, "warn"], ["foo", 1], "true, false or warn"),
    (Literal[16, "16"], [16, "16"], [16.0, True], "16"),
    (
        Size,
        [64, [64, 96], (1, 1)],
        [0, -1, 1.5, True, "64", [64], [64, 0], [1, 2, 3]],
        "a positive number of",
    ),
    (Interval, [[0.5, 2], (1, 1)], [1, "12", [1], [2, 1], [0, 1], [1, math.inf]], "[low, high] with 0 <"),
    (
        Sequence[Colour],
        [[[0, 128, 255]], []],
        [[[0, 0]], [[0, 0, 256]], [0, 0, 0]],
        "a list, each entry [r, g",
    ),
    (tuple[float, float], [[0.9, 0.99]], [[0.9], [0.9, "a"]], "[a number, a number]"),
    (list[str], [["a"], []], ["a", [1], {"a": 1}], "a list, each entry text"),
    (
        Mapping[Literal["a"], Count],
        [{"a": 1}, {}],
        [{"b": 1}, ["a"], 1],
        "a mapping from a, each value a whole",
    ),
    (Section, [{}, {"lr": 1, "other": 2}], [1, "lr", None, [1]], "a mapping with keys such as lr, name"),
    (
        Callable[[int], int] | None,
        [abs, None, {"_target_": "x"}],
        ["abs", 1, {"a": 1}],
        "a mapping with _tar",
    ),
    (Path | Any, [1, None, "a"], [], "a path or any value"),
]


@pytest.mark.parametrize(("kind", "right", "wrong", "words"), CASES, ids=[case[-1] for case in CASES])
def test_a_value_is_admitted_or_explained(kind: Any, right: list, wrong: list, words: str) -> None:
    for value in right:
        checks.check("some.key", value, kind)
    for value in wrong:
        with refused(r"^some\.key\n  found: .*\n  expected: ") as caught:
            checks.check("some.key", value, kind)
    assert checks.describe(kind).startswith(words)
    assert not wrong or words in str(caught.value)


def test_values_of_a_config_are_admitted() -> None:
    checks.check("key", OmegaConf.create([64, 96]), Size)
    checks.check("key", OmegaConf.create({"lr": 1}), Section)


@pytest.mark.parametrize("kind", [Section, Section | None, float | Section, Mapping[str, Positive]])
def test_a_value_in_a_mapping_is_named(kind: Any) -> None:
    with refused(r"^some\.key\.lr\n  found:    -1\n  expected: a number above 0$"):
        checks.check("some.key", {"lr": -1}, kind)


def test_a_similar_choice_is_proposed() -> None:
    with refused(r"did you mean apply\?"):
        checks.check("some.key", "aply", Literal["apply", "ignore"])


@pytest.mark.parametrize(("value", "shown"), [(None, "null"), (True, "true"), ("1", "'1'"), (1, "1")])
def test_a_value_is_shown_as_a_config_has_it(value: Any, shown: str) -> None:
    assert checks.shown(value) == shown


def test_one_side_is_a_square() -> None:
    assert sides(64) == (64, 64)
    assert sides([64, 96]) == (64, 96)


class Base:
    def __init__(self, rate: Share = 0.5, unknown: Missing | None = None) -> None:  # type: ignore[name-defined]  # noqa: F821
        self.rate = rate


@checks.checked
class Derived(Base):
    def __init__(self, count: Count, palette: list[int] = None, **options: Any) -> None:  # type: ignore[assignment]  # noqa: RUF013
        super().__init__(**options)
        self.count = count


def test_arguments_include_those_passed_on() -> None:
    options = checks.arguments(Derived)
    assert options["count"].kind == Count
    assert options["rate"].kind == Share
    assert options["unknown"].kind is Any  # its annotation cannot be evaluated
    assert checks.of_option("palette", None, options["palette"]) is None  # its default


def test_a_checked_class_refuses_in_python() -> None:
    assert Derived(3, rate=1).count == 3
    with refused(r"^Derived\.count\n"):
        Derived(0)
    with pytest.raises(TypeError, match="missing"):
        Derived()  # type: ignore[call-arg]
