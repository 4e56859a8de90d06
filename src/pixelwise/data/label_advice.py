"""What to do about labels without a meaning: the faults that masks usually have, and how each is mended."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np

IGNORE_KEY = "data.source.labels.ignore"

MANY = 8
"""So many different values without a meaning are no labels: something interpolated between the labels."""


def how_to_ignore(unknown: Iterable[str], key: str = IGNORE_KEY) -> str:
    """The override that turns unknown labels or colours, as `LabelError.unknown` names them, into 255."""
    values = ",".join(list(unknown)[:8]).replace(" ", "").replace("(", "[").replace(")", "]")
    return f"'{key}=[{values}]'"


def how_to_mend(
    unknown: Collection[str],
    classes: Sequence[str],
    has_zero: bool,
    smooth: bool = False,
    key: str = IGNORE_KEY,
) -> str:
    """The remedy that fits best.

    Args:
        unknown: the labels or colours, as `LabelError.unknown` names them.
        classes: names in the order of their indices.
        has_zero: whether class 0 stands in the same masks.
        smooth: whether they look like masks of 0 and 255 that were interpolated.
        key: config key of the labels to ignore.
    """
    labels = key.removesuffix(".ignore")
    if smooth:
        return (
            "masks of 0 and 255 were resized smoothly, or saved as JPEG: make them anew by nearest neighbour;"
            f" or '{labels}.threshold=128' makes {classes[1]} of 128 and more"
        )
    if any("." in label or "inf" in label or "e" in label for label in unknown):
        threshold = f"; or '{labels}.threshold=0.5' makes {classes[1]} of 0.5 and more" * (len(classes) == 2)
        return f"class numbers are whole: write the masks anew{threshold}"
    ignore = f"{how_to_ignore(unknown, key)} leaves them out"
    if list(unknown) == [str(len(classes))] and not has_zero:
        remap = ",".join(f"{index + 1}:{index}" for index in range(len(classes)))
        return f"'{labels}.remap={{{remap}}}' if the labels count from 1; else {ignore}"
    if len(unknown) >= MANY and not any(label.startswith("(") for label in unknown):
        return f"masks that were resized smoothly are to be made anew by nearest neighbour; else {ignore}"
    return f"{ignore}; or name their class in data.classes"


def is_smooth(stored: np.ndarray, unknown: int) -> bool:
    """Whether a mask of numbers (H, W) is mostly about 0 and 255, with many values between.

    Args:
        stored: the numbers.
        unknown: how many different ones have no meaning.
    """
    extremes = (stored < 32) | (stored > 223)
    return bool(unknown >= MANY and stored.min() >= 0 and stored.max() <= 255 and extremes.mean() > 0.5)
