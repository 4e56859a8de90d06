"""Fixes for labels without a meaning: the usual faults of masks, and how to correct them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np

IGNORE_KEY = "data.source.labels.ignore"

MANY = 8
"""This many different values without a meaning are not labels, but the result of interpolation."""


def ignore_override(unknown: Iterable[str], key: str = IGNORE_KEY) -> str:
    """Return the override that maps unknown labels or colours, as in `LabelError.unknown`, to 255."""
    values = ",".join(list(unknown)[:8]).replace(" ", "").replace("(", "[").replace(")", "]")
    return f"'{key}=[{values}]'"


def suggest_fix(
    unknown: Collection[str],
    classes: Sequence[str],
    has_zero: bool,
    smooth: bool = False,
    key: str = IGNORE_KEY,
) -> str:
    """Return the fix that suits the unknown values best.

    Args:
        unknown: the labels or colours, as in `LabelError.unknown`.
        classes: names in the order of their indices.
        has_zero: whether class 0 occurs in the same masks.
        smooth: whether the masks look like interpolated masks of 0 and 255.
        key: config key of the labels to ignore.
    """
    labels = key.removesuffix(".ignore")
    if smooth:
        return (
            "masks of 0 and 255 were interpolated, or saved as JPEG: create them again by nearest neighbour;"
            f" or '{labels}.threshold=128' assigns values from 128 to {classes[1]}"
        )
    if unknown and {*unknown} <= {str((index, index, index)) for index in range(len(classes))}:
        return f"{labels}.palette=null reads class indices, which these masks seem to hold instead of colours"
    if any("." in label or "inf" in label or "e" in label for label in unknown):
        threshold = f"; or '{labels}.threshold=0.5' assigns values from 0.5 to {classes[1]}" * (
            len(classes) == 2
        )
        return f"class indices are whole numbers: create the masks again{threshold}"
    ignore = f"{ignore_override(unknown, key)} ignores them"
    if list(unknown) == [str(len(classes))] and not has_zero:
        return f"{labels}.first=1 if the labels start at 1; otherwise {ignore}"
    if len(unknown) >= MANY and not any(label.startswith("(") for label in unknown):
        return f"if the masks were interpolated, create them again by nearest neighbour; otherwise {ignore}"
    return f"{ignore}; or add their class to data.classes"


def is_smooth(stored: np.ndarray, unknown: int) -> bool:
    """Whether a mask of numbers (H, W) is mostly near 0 and 255, with many values in between.

    Args:
        stored: the stored numbers.
        unknown: how many different numbers have no meaning.
    """
    extremes = (stored < 32) | (stored > 223)
    return bool(unknown >= MANY and stored.min() >= 0 and stored.max() <= 255 and extremes.mean() > 0.5)
