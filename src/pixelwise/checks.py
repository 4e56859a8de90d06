"""Arguments as they come from a YAML file, turned into plain numbers or into an error that names the key."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pixelwise.errors import UserError


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
        key: the config's key, for the message.
        value: what the config says.
        low: the smallest number allowed.
        high: the largest one.
        above: a number that it must exceed.
        below: a number that it must stay below.
        expected: what is expected, in words, where the limits do not say it all.
        fix: what to do about it.

    Raises:
        UserError: `value` is no finite number, or beyond its limits.
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
    """`value`, a whole number; arguments as in `number`.

    Raises:
        UserError: `value` is no whole number, or beyond its limits.
    """
    if type(value) is int and low <= value <= high:
        return value
    raise UserError(
        key, found=_shown(value), expected=expected or "a whole number" + _range(low, high), fix=fix
    )


def strength(key: str, value: Any, high: float) -> float:
    """`value` as a float from 0, which switches something off, to `high`.

    Raises:
        UserError: it is not.
    """
    return number(key, value, 0, high, fix=f"{key}=0 switches it off")


def numbers(key: str, values: Any, count: int, above: float = -math.inf) -> list[float]:
    """`values` as a list of `count` floats, each above a limit.

    Raises:
        UserError: they are not.
    """
    limit = f" above {above:g}" if above > -math.inf else ""
    expected = f"{count} numbers{limit}, one a channel"
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != count:
        raise UserError(key, found=_shown(values), expected=expected)
    return [number(key, value, above=above, expected=expected) for value in values]


def interval(key: str, value: Any) -> tuple[float, float]:
    """`value` as (low, high).

    Raises:
        UserError: `value` is not two numbers with 0 < low ≤ high.
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


def _shown(value: Any) -> str:
    """As a config has it: text in quotes, unlike numbers."""
    return "null" if value is None else repr(value) if isinstance(value, str) else str(value)


def _range(low: float, high: float, above: float = -math.inf, below: float = math.inf) -> str:
    """Limits in words: " from 0 to 1", " from 0 to below 1", " above 0", " from 1"."""
    start = f" above {above:g}" if above > -math.inf else f" from {low:g}" if low > -math.inf else ""
    end = f" below {below:g}" if below < math.inf else f" {high:g}" if high < math.inf else ""
    return start + (f" to{end}" if start else f" up to{end}") if end else start
