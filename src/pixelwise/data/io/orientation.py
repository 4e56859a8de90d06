"""The orientation tag of photographs: how viewers show an image that is stored rotated or mirrored.

Tag 0x0112 of Exif (CIPA DC-008) and of TIFF 6.0. A viewer transposes the stored image if the tag is 5 to 8,
and then flips it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

TAG = 0x0112

UPRIGHT = 1

Exif = Literal["apply", "ignore"]
"""Values of `data.source.exif`."""

_STEPS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
"""By tag: whether to transpose, then whether to reverse the rows, and the columns."""


def valid_tag(value: object) -> int:
    """Return the value of the tag; 1 (upright) for values that the standards do not define."""
    return value if isinstance(value, int) and value in _STEPS else UPRIGHT


def swaps_sides(tag: int) -> bool:
    """Whether showing an image swaps its height and width."""
    return _STEPS[tag][0]


def shown_size(size: tuple[int, int], tag: int) -> tuple[int, int]:
    """Convert (H, W) as stored into (H, W) as shown, and the reverse."""
    return size[::-1] if swaps_sides(tag) else size


def shown(array: np.ndarray, tag: int) -> np.ndarray:
    """Rotate and mirror stored pixels (H, W, …) as viewers show them; the result is contiguous."""
    transpose, rows, columns = _STEPS[tag]
    array = array.swapaxes(0, 1) if transpose else array
    return np.ascontiguousarray(array[:: -1 if rows else 1, :: -1 if columns else 1])


def stored_window(
    top: int, left: int, height: int, width: int, size: tuple[int, int], tag: int
) -> tuple[int, int, int, int]:
    """Convert a window of the shown image to the stored image: top, left, height, width.

    Args:
        top: first row of the window in the shown image.
        left: first column of the window.
        height: number of rows.
        width: number of columns.
        size: (H, W) of the shown image.
        tag: the orientation.
    """
    transpose, rows, columns = _STEPS[tag]
    top = size[0] - top - height if rows else top
    left = size[1] - left - width if columns else left
    return (left, top, width, height) if transpose else (top, left, height, width)
