"""Arguments as they come from a YAML file, turned into plain numbers or into an error that names the key."""

from __future__ import annotations

from collections.abc import Sequence

from pixelwise.errors import UserError


def number(key: str, value: float, low: float, high: float) -> float:
    """`value` as a float.

    Raises:
        UserError: `value` is not a number from `low` to `high`.
    """
    if isinstance(value, int | float) and low <= value <= high:
        return float(value)
    raise UserError(
        f"{key} is out of range",
        found=repr(value),
        expected=f"a number from {low:g} to {high:g}",
        fix=f"{key}={low:g} switches it off" if low == 0 else None,
    )


def interval(key: str, value: Sequence[float]) -> tuple[float, float]:
    """`value` as (low, high).

    Raises:
        UserError: `value` is not two numbers with 0 < low ≤ high.
    """
    ends = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
    if len(ends) == 2 and all(isinstance(end, int | float) for end in ends) and 0 < ends[0] <= ends[1]:
        return float(ends[0]), float(ends[1])
    raise UserError(
        f"{key} is no interval of positive numbers",
        found=str(value),
        expected="[low, high] with 0 < low <= high",
        fix=f"'{key}=[0.8,1.25]', for example",
    )


def extent(key: str, value: int | Sequence[int]) -> tuple[int, int]:
    """`value`, one number or [height, width] in pixels, as (height, width).

    Raises:
        UserError: `value` is not one or two positive whole numbers.
    """
    sides = [value, value] if isinstance(value, int) else value
    if (
        isinstance(sides, Sequence)
        and len(sides) == 2
        and all(type(side) is int and side > 0 for side in sides)
    ):
        return sides[0], sides[1]
    raise UserError(
        f"{key} is no image size",
        found=str(value),
        expected="a positive number of pixels, or [height, width]",
        fix=f"{key}=512 or '{key}=[512,768]'; presets read it from data.crop_size",
    )
