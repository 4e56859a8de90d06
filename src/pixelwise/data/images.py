"""Read an image file as an array, or only its size.

Pixels come as they are stored: alpha is dropped without compositing, 16 bits stay 16 bits, an animation gives
its first frame, and an EXIF rotation is not applied, because a mask beside the image knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import BITSPERSAMPLE, TiffImageFile

from pixelwise.errors import UserError

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""Endings of the files that are taken for images, compared in lower case."""

_DTYPES = (np.uint8, np.uint16, np.float32)

_DAMAGE = (OSError, SyntaxError, EOFError, ValueError, Image.DecompressionBombError)

# Pillow refuses images of twice this many pixels. Its own limit suits servers; aerial mosaics exceed it.
Image.MAX_IMAGE_PIXELS = 2**29


class Header(NamedTuple):
    """What a file tells about its image before any pixel is decoded."""

    size: tuple[int, int]
    """(H, W) as stored."""
    is_rotated: bool
    """Whether viewers are asked (EXIF) to turn or flip the stored pixels."""


class UnreadableImage(UserError):
    """A file that is damaged, cut short or no image at all."""


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn whatever the decoder raises inside the block into one `UnreadableImage` that names the file."""
    try:
        yield
    except _DAMAGE as error:
        reason = str(error).replace(f" {str(path)!r}", " this file")
        raise UnreadableImage(
            f"{path} cannot be read as an image",
            found=reason,
            fix="restore the file from its origin, or move it (and its mask) out of the data set",
        ) from error


def read_image(path: Path, channels: int = 3) -> np.ndarray:
    """Read an image with a given number of channels.

    A grey image is repeated into three channels, a colour image becomes grey (ITU-R BT.601 luma) where one
    channel is asked for, and a fourth channel counts as alpha unless four are asked for.

    Args:
        path: the file; its format is one of `SUFFIXES`.
        channels: channels of the result.

    Returns:
        (H, W, channels) uint8, uint16 or float32.

    Raises:
        UnreadableImage: the file is damaged or no image.
        UserError: its channels or its number type do not fit.
    """
    image = _decode(path)
    image = image.astype(image.dtype.newbyteorder("="), copy=False)  # a TIFF may be big-endian
    if image.dtype not in _DTYPES:
        raise UserError(
            f"{path} stores its pixels as {image.dtype}",
            expected="uint8, uint16 or float32",
            fix="convert the file once, e.g. to a 16-bit TIFF",
        )
    return _with_channels(image, channels, path)


def read_header(path: Path) -> Header:
    """Size and rotation of an image.

    Raises:
        UnreadableImage: the header is damaged, or the file is no image.
    """
    with readable(path), Image.open(path) as image:
        if image.format == "PNG":  # Pillow would decode all of it to find a rotation; hardly any has one
            return Header((image.height, image.width), is_rotated=False)
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        return Header((image.height, image.width), is_rotated=orientation != 1)


def is_deep_colour(image: Image.Image) -> bool:
    """Whether an opened file has several channels of 16 bits, which Pillow would cut to 8."""
    if image.mode not in ("RGB", "RGBA", "LA"):
        return False
    if isinstance(image, TiffImageFile):
        return max(image.tag_v2.get(BITSPERSAMPLE, (8,))) > 8
    raw_modes = [str(tile[3]) for tile in image.tile] if isinstance(image, PngImageFile) else []
    return any("16" in mode for mode in raw_modes)  # such as RGB;16B


def _decode(path: Path) -> np.ndarray:
    """(H, W) or (H, W, C), by Pillow: OpenCV accepts half a JPEG, and multiplies colours by alpha."""
    with readable(path), Image.open(path) as image:
        if is_deep_colour(image):
            return _decode_deep_colour(path)
        if image.mode in ("1", "LA"):
            return np.array(image.convert("L"))
        plain = image.mode in ("L", "RGB", "RGBA", "F", "I") or image.mode.startswith("I;16")
        return np.array(image if plain else image.convert("RGB"))


def _decode_deep_colour(path: Path) -> np.ndarray:
    """(H, W, 3 or 4) uint16, by OpenCV."""
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise OSError("image file is damaged")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB if image.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


def _with_channels(image: np.ndarray, channels: int, path: Path) -> np.ndarray:
    """(H, W) or (H, W, C) → (H, W, channels); see `read_image` for the rules."""
    if image.ndim == 2:
        image = image[..., None]
    stored = image.shape[2]
    if stored == channels:
        return image
    if stored == 1 and channels == 3:
        return np.repeat(image, 3, axis=2)
    if stored == 4 and channels == 3:
        return np.ascontiguousarray(image[..., :3])
    if stored in (3, 4) and channels == 1:
        return cv2.cvtColor(np.ascontiguousarray(image[..., :3]), cv2.COLOR_RGB2GRAY)[..., None]
    raise UserError(
        f"{path} has {stored} channels",
        expected=f"{channels} (data.channels)",
        fix=f"data.channels={stored}, if every image has as many",
    )
