"""Check values of the config: return plain numbers, or raise an error that names the key."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pixelwise.errors import UserError, guess, some


def number(
    key: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    above: float = -math.inf,
    below: float = math.inf,
    expected: str | None = None,
    fix: str | None = None,
) -> float:
    """`value` as a float.

    Args:
        key: the config key, for the message.
        value: the value in the config.
        low: the smallest allowed number.
        high: the largest allowed number.
        above: the exclusive lower limit.
        below: the exclusive upper limit.
        expected: the expectation in words; None describes the limits.
        fix: how to correct the value.

    Raises:
        UserError: `value` is not a finite number, or outside its limits.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if is_number and low <= value <= high and above < value < below:
        return float(value)
    expected = expected or "a number" + _range(low, high, above, below)
    raise UserError(key, found=_shown(value), expected=expected, fix=fix)


def whole(
    key: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    expected: str | None = None,
    fix: str | None = None,
) -> int:
    """`value` as a whole number; the arguments are those of `number`.

    Raises:
        UserError: `value` is not a whole number, or outside its limits.
    """
    if type(value) is int and low <= value <= high:
        return value
    raise UserError(
        key, found=_shown(value), expected=expected or "a whole number" + _range(low, high), fix=fix
    )


def strength(key: str, value: Any, high: float) -> float:
    """`value` as a float from 0 (switched off) to `high`.

    Raises:
        UserError: `value` is not such a number.
    """
    return number(key, value, 0, high, fix=f"{key}=0 switches it off")


def numbers(key: str, values: Any, count: int, above: float = -math.inf) -> list[float]:
    """`values` as a list of `count` floats, each greater than `above`.

    Raises:
        UserError: `values` is not such a list.
    """
    limit = f" above {above:g}" if above > -math.inf else ""
    expected = f"{count} numbers{limit}, one per channel"
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != count:
        raise UserError(key, found=_shown(values), expected=expected)
    return [number(key, value, above=above, expected=expected) for value in values]


def interval(key: str, value: Any) -> tuple[float, float]:
    """`value` as (low, high).

    Raises:
        UserError: `value` is not a pair of numbers with 0 < low ≤ high.
    """
    expected, fix = "[low, high] with 0 < low <= high", f"'{key}=[0.8,1.25]', for example"
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2:
        low = number(key, value[0], above=0, expected=expected, fix=fix)
        return low, number(key, value[1], low, expected=expected, fix=fix)
    raise UserError(key, found=_shown(value), expected=expected, fix=fix)


def extent(
    key: str,
    value: Any,
    *,
    expected: str = "a positive number of pixels, or [height, width]",
    fix: str | None = None,
) -> tuple[int, int]:
    """`value`, one number or [height, width] in pixels, as (height, width).

    Raises:
        UserError: `value` is not one or two positive whole numbers.
    """
    sides = value if isinstance(value, Sequence) and not isinstance(value, str) else [value, value]
    if len(sides) == 2 and all(type(side) is int and side > 0 for side in sides):
        return sides[0], sides[1]
    raise UserError(key, found=_shown(value), expected=expected, fix=fix)


def class_indices(key: str, names: Any, classes: Sequence[str]) -> list[int]:
    """Indices of the classes with these names; one name may be given without a list.

    Raises:
        UserError: a name is not that of a class.
    """
    wanted = [names] if isinstance(names, str) else list(names or ())
    if unknown := [name for name in wanted if name not in classes]:
        raise UserError(
            f"{key}: {some(unknown)} is not a class",
            expected=some(classes, 12),
            fix=guess("perhaps …?", str(unknown[0]), classes),
        )
    return [list(classes).index(name) for name in wanted]


def _shown(value: Any) -> str:
    """The value as in a config: strings in quotes, to tell them from numbers."""
    return "null" if value is None else repr(value) if isinstance(value, str) else str(value)


def _range(low: float, high: float, above: float = -math.inf, below: float = math.inf) -> str:
    """The limits in words: " from 0 to 1", " from 0 to below 1", " above 0", " from 1"."""
    start = f" above {above:g}" if above > -math.inf else f" from {low:g}" if low > -math.inf else ""
    end = f" below {below:g}" if below < math.inf else f" {high:g}" if high < math.inf else ""
    return start + (f" to{end}" if start else f" up to{end}") if end else start
