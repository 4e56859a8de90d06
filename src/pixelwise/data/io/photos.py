"""Image files that are not TIFFs, decoded as a whole by Pillow, as viewers show them.

OpenCV would accept truncated JPEGs and multiply colours by alpha. It decodes only PNGs with several 16-bit
channels, which Pillow reduces to 8 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageFile

from pixelwise.data.io import orientation
from pixelwise.data.io.channels import channel_error, check_type, fit_channels
from pixelwise.data.io.unreadable import readable
from pixelwise.errors import UserError, counted

# Pillow refuses images of twice this many pixels. Aerial mosaics exceed its default limit.
Image.MAX_IMAGE_PIXELS = 2**29


FORMATS = ("BMP", "DIB", "GIF", "JPEG", "PNG", "WEBP")
"""Formats that Pillow may decode. It tries all it knows by content, and runs Ghostscript for PostScript."""


def opened(path: Path) -> ImageFile.ImageFile:
    """Open an image that is not a TIFF, for use in a `with` block."""
    return Image.open(path, formats=FORMATS)


def decode(
    path: Path, channels: int, bands: Sequence[int] | None, exif: str, exact: bool, option: str
) -> np.ndarray:
    """Decode an image into (H, W, C) uint8 or uint16; C may still need to be converted.

    The arguments are those of `pixelwise.data.io.images.ImageReader`.

    Raises:
        UnreadableImage: the file is missing, damaged or not an image.
        UserError: its channels or its number type are wrong.
    """
    with readable(path), opened(path) as image:
        tag = orientation_of(image) if exif == "apply" else orientation.UPRIGHT
        if is_deep_colour(image):
            pixels = _decode_deep(path, str(image.tile[0][3]))
        elif bands is not None or image.mode in ("L", "LA", "RGB", "RGBA") or image.mode[0] in "FI":
            pixels = np.atleast_3d(np.array(image))
            pixels = pixels.astype(np.uint8) if pixels.dtype == bool else pixels
        else:
            pixels = np.atleast_3d(np.array(image.convert("L" if image.mode == "1" else "RGB")))
        is_plain = image.mode in ("L", "LA", "RGB", "RGBA")
    stored = pixels.shape[2]
    found = counted(stored, "band")
    if bands is not None:
        if not {*bands} <= {*range(1, stored + 1)}:
            what = f"{option or 'bands'}={list(bands)}: {path} has no such band"
            raise UserError(what, expected=f"1 to {stored}")
        pixels, found = pixels[..., [band - 1 for band in bands]], f"bands {list(bands)} of {found}"
    check_type(path, [pixels.dtype])
    count = pixels.shape[2]
    adapts = bands is None and not exact and fit_channels(count, channels)
    if count != channels and not adapts:
        selectable = is_plain and stored > channels
        raise channel_error(path, count, channels, found, option, selectable)
    return orientation.shown(pixels, tag)


def _decode_deep(path: Path, raw_mode: str) -> np.ndarray:
    """Decode a PNG with several 16-bit channels, named by Pillow's raw mode, into (H, W, C) uint16."""
    deep = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if deep is None:
        raise OSError("image file is damaged")
    # OpenCV adds alpha for a transparent colour, and grey as blue, green and red
    channels = {"LA;16B": [0, 3], "RGB;16B": [2, 1, 0], "RGBA;16B": [2, 1, 0, 3]}[raw_mode]
    return np.ascontiguousarray(deep[..., channels])


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation of an open file; for a PNG, only if it is stored before the pixels."""
    if image.format == "PNG" and "exif" not in image.info:
        return orientation.UPRIGHT  # to search further, Pillow would decode the pixels
    return orientation.valid_tag(image.getexif().get(orientation.TAG))


def is_deep_colour(image: Image.Image) -> bool:
    """Whether an open PNG has several 16-bit channels, which Pillow would reduce to 8 bits."""
    return image.format == "PNG" and ";16" in str(getattr(image, "tile", "")) and image.mode != "I;16"


def is_lossy(path: Path, image: Image.Image) -> bool:
    """Whether the format of an open file changes pixels."""
    if image.format == "WEBP":
        with path.open("rb") as file:
            return file.read(16).endswith(b"VP8 ")  # RFC 9649, section 2.5; VP8L is lossless
    return image.format in ("JPEG", "MPO", "AVIF")
