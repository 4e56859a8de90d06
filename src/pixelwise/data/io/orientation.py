"""The orientation tag of photographs: how an image that is stored turned or mirrored is to be shown.

Tag 0x0112 of Exif (CIPA DC-008) and of TIFF 6.0. To be shown, the stored image is transposed where the tag is
5 to 8, and then flipped.
"""

from __future__ import annotations

import numpy as np

from pixelwise.errors import UserError

TAG = 0x0112

UPRIGHT = 1

CHOICES = ("apply", "ignore")
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
"""By tag: whether to transpose, then to flip the order of rows, and of columns."""


def check_choice(exif: object) -> str:
    """The value of `data.source.exif`, or a `UserError` for one that is not known."""
    if exif not in CHOICES:
        expected = "apply: images as viewers show them; or ignore: as they are stored"
        raise UserError("data.source.exif", found=exif, expected=expected)
    return str(exif)


def valid_tag(value: object) -> int:
    """The value of the tag; 1, upright, for one that the standards do not know."""
    return value if isinstance(value, int) and value in _STEPS else UPRIGHT


def swaps_sides(tag: int) -> bool:
    """Whether height and width of the shown image are width and height of the stored one."""
    return _STEPS[tag][0]


def shown_size(size: tuple[int, int], tag: int) -> tuple[int, int]:
    """(H, W) as shown of (H, W) as stored, and the reverse."""
    return size[::-1] if swaps_sides(tag) else size


def shown(array: np.ndarray, tag: int) -> np.ndarray:
    """Turn stored pixels (H, W, …) as they are to be shown; contiguous."""
    transpose, rows, columns = _STEPS[tag]
    array = array.swapaxes(0, 1) if transpose else array
    return np.ascontiguousarray(array[:: -1 if rows else 1, :: -1 if columns else 1])


def stored_window(
    top: int, left: int, height: int, width: int, size: tuple[int, int], tag: int
) -> tuple[int, int, int, int]:
    """Where a window of the shown image lies in the stored one: top, left, height, width.

    Args:
        top: first row of the window in the shown image.
        left: its first column.
        height: its rows.
        width: its columns.
        size: (H, W) of the shown image.
        tag: the orientation.
    """
    transpose, rows, columns = _STEPS[tag]
    top = size[0] - top - height if rows else top
    left = size[1] - left - width if columns else left
    return (left, top, width, height) if transpose else (top, left, height, width)
