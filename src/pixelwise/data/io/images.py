"""Read an image file as an array, or only its size.

Pixels come as they are stored: alpha is dropped without compositing, 16 bits stay 16 bits, an animation gives
its first frame, and an EXIF rotation is not applied, because a mask beside the image knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import BITSPERSAMPLE

from pixelwise.errors import UserError

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""Endings of the files that are taken for images, compared in lower case."""

# Pillow refuses images of twice this many pixels. Its own limit suits servers; aerial mosaics exceed it.
Image.MAX_IMAGE_PIXELS = 2**29


class UnreadableImage(UserError):
    """A file that is missing, damaged, cut short or no image at all."""


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn whatever the decoder raises inside the block into one `UnreadableImage` that names the file."""
    try:
        yield
    except (OSError, SyntaxError, EOFError, ValueError, Image.DecompressionBombError) as error:
        found = str(error).replace(f" {str(path)!r}", " this file")
        fix = "restore the file from its origin, or move it (and its mask) out of the data set"
        raise UnreadableImage(f"{path} cannot be read as an image", found=found, fix=fix) from error


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
        UnreadableImage: the file is missing, damaged or no image.
        UserError: its channels or its number type do not fit.
    """
    image = _decode(path)
    image = image.astype(image.dtype.newbyteorder("="), copy=False)  # a TIFF may be big-endian
    if image.dtype not in (np.uint8, np.uint16, np.float32):
        what = f"{path} stores its pixels as {image.dtype}"
        raise UserError(what, expected="uint8, uint16 or float32", fix="convert it once, e.g. to 16-bit TIFF")
    stored = image.shape[2]
    if stored == 1 and channels == 3:
        image = np.repeat(image, 3, axis=2)
    if stored == 4 and channels < 4:
        image = np.ascontiguousarray(image[..., :3])
    if image.shape[2] == 3 and channels == 1:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
    if image.shape[2] != channels:
        fix = f"data.channels={stored}, if every image has as many"
        raise UserError(f"{path} has {stored} channels", expected=f"{channels} (data.channels)", fix=fix)
    return image


def read_size(path: Path) -> tuple[int, int]:
    """(H, W) of an image as its header says, or `UnreadableImage`."""
    with readable(path), Image.open(path) as image:
        return image.height, image.width


def is_deep_colour(image: Image.Image) -> bool:
    """Whether an opened file has several channels of 16 bits, which Pillow would cut to 8."""
    bits = getattr(image, "tag_v2", {}).get(BITSPERSAMPLE, (8,))  # a TIFF's; a PNG has a mode like RGB;16B
    is_deep = max(bits) > 8 or (image.format == "PNG" and ";16" in str(getattr(image, "tile", "")))
    return is_deep and image.mode in ("RGB", "RGBA", "LA")


def _decode(path: Path) -> np.ndarray:
    """(H, W, C), by Pillow: OpenCV accepts half a JPEG, and multiplies colours by alpha."""
    with readable(path), Image.open(path) as image:
        if is_deep_colour(image):
            deep = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
            if deep is None:
                raise OSError("image file is damaged")
            return cv2.cvtColor(deep, cv2.COLOR_BGR2RGB if deep.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
        is_plain = image.mode in ("L", "RGB", "RGBA", "F", "I") or image.mode.startswith("I;16")
        plain_mode = "L" if image.mode in ("1", "LA") else "RGB"
        return np.atleast_3d(np.array(image if is_plain else image.convert(plain_mode)))
