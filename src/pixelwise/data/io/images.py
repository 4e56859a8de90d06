"""Read image files: training, evaluation, audit and prediction get the same pixels.

An image is read as viewers show it: indices of a colour table become colours, WhiteIsZero is inverted, 1 bit
becomes 0 and 255, CMYK becomes RGB, and an EXIF orientation is applied, as annotation tools label the image
that they show. Alpha is dropped without compositing, 16 bits stay 16 bits, and an animation gives its first
frame. TIFFs are read in windows (`pixelwise.data.io.tiff`), all other files as a whole through Pillow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pixelwise.checks import checked
from pixelwise.data.io import orientation
from pixelwise.data.io.channels import fit, without_alpha
from pixelwise.data.io.nodata import filled, nodata_at
from pixelwise.data.io.photos import decode, is_deep_colour, is_lossy, opened, orientation_of
from pixelwise.data.io.rasters import gdal
from pixelwise.data.io.tiff import Tiff, is_tiff, tiff_header
from pixelwise.data.io.unreadable import UnreadableImage, readable
from pixelwise.errors import UserError
from pixelwise.kinds import Count, Nodata

__all__ = [
    "SUFFIXES",
    "Header",
    "ImageReader",
    "UnreadableImage",
    "read_header",
    "read_image",
    "read_size",
    "readable",
]

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""Suffixes of image files, compared in lower case."""


class Header(NamedTuple):
    """The header of an image file."""

    stored: tuple[int, int]
    """(H, W) of the pixels as stored."""
    orientation: int = orientation.UPRIGHT
    """The orientation tag, 1 to 8."""
    table: bytes = b""
    """Colour table: red, green and blue of each index; empty if a mask is not read by its indices."""
    is_lossy: bool = False
    """Whether the pixels were compressed with loss, as in a JPEG, which changes labels."""

    def size(self, exif: str = "apply") -> tuple[int, int]:
        """(H, W) with the orientation applied ("apply") or as stored ("ignore")."""
        return orientation.shown_size(self.stored, self.orientation) if exif == "apply" else self.stored


class Decoded(NamedTuple):
    """An image that was read, before augmentation."""

    image: np.ndarray
    """(H, W, C) uint8, uint16 or float32; nodata pixels hold the mean of the other pixels."""
    nodata: np.ndarray | None
    """(H, W) bool, or None where no pixel is nodata."""


@checked
@dataclass(frozen=True)
class ImageReader:
    """Reads the image files of a data set.

    Args:
        channels: channels of every image; other numbers are converted, see `pixelwise.data.io.channels.fit`.
        bands: bands of a file to read, as stored, counted from 1; None reads the image as viewers show it.
        nodata: the nodata value, in place of the one in the metadata of a TIFF; see
            `pixelwise.data.io.nodata`.
        exif: "apply" rotates images by their orientation tag, "ignore" reads them as stored.
        exact: raise an error for an image with another number of channels, instead of converting it.
        option: config key of `bands` for messages, or "" if there is none.

    Raises:
        UserError: an argument is out of its range.
    """

    channels: Count = 3
    bands: Sequence[Count] | None = None
    nodata: Nodata | None = None
    exif: orientation.Exif = "apply"
    exact: bool = False
    option: str = ""

    @contextmanager
    def open(self, path: Path) -> Iterator[Tiff | Whole]:
        """Open an image in a `with` block, to read it in windows.

        Raises:
            UnreadableImage: the file is missing, damaged or not an image.
            UserError: its channels or its number type are wrong.
        """
        if not is_tiff(path):
            yield Whole(path, self)
            return
        with gdal(), self.open_tiff(path) as tiff:
            yield tiff

    def open_tiff(self, path: Path) -> Tiff:
        """Open a TIFF as a context manager, inside `pixelwise.data.io.rasters.gdal`; raises as `open`."""
        return Tiff(path, self.channels, self.bands, self.nodata, self.exif, self.exact, self.option)

    def describe(self, path: Path) -> tuple[tuple[int, int], np.dtype]:
        """Return (H, W) as read, and the number type, from the header.

        Raises:
            UnreadableImage: the file is missing, damaged or not an image.
            UserError: its channels or its number type are wrong, as far as the header shows.
        """
        if is_tiff(path):
            with self.open(path) as tiff:
                return tiff.shape, tiff.dtype
        with readable(path), opened(path) as image:
            is_deep = image.mode.startswith("I;16") or is_deep_colour(image)
        return read_header(path).size(self.exif), np.dtype(np.uint16 if is_deep else np.uint8)

    def may_be_nodata(self, path: Path) -> bool:
        """Whether pixels of an image may be nodata, as far as its header shows."""
        if self.nodata is not None or not is_tiff(path):
            return self.nodata is not None
        with self.open(path) as tiff:
            return tiff.may_be_nodata

    def read(self, path: Path) -> Decoded:
        """Read a whole image.

        Raises:
            UnreadableImage: the file is missing, damaged or not an image.
            UserError: its channels or its number type are wrong, or every pixel is nodata.
        """
        with self.open(path) as image:
            pixels, nodata = image.read(0, 0, *image.shape)
            if nodata.all():
                fix = "remove it (and its mask)"
                raise UserError(
                    f"{path} contains only nodata pixels", found=f"nodata={image.nodata}", fix=fix
                )
        return Decoded(filled(pixels, nodata), nodata if nodata.any() else None)


class Whole:
    """An image that is not a TIFF: decoded as a whole, with the interface of `Tiff`."""

    def __init__(self, path: Path, reader: ImageReader) -> None:
        settings = reader.channels, reader.bands, reader.exif, reader.exact, reader.option
        pixels = without_alpha(decode(path, *settings), reader.channels)
        self.nodata = reader.nodata
        self.may_be_nodata = reader.nodata is not None
        self._nodata_mask = nodata_at(pixels, reader.nodata)
        self._pixels = fit(pixels, reader.channels)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self._nodata_mask.shape[0], self._nodata_mask.shape[1]

    @property
    def dtype(self) -> np.dtype:
        """Number type of the pixels."""
        return self._pixels.dtype

    def read(self, top: int, left: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Return pixels (height, width, C), and a nodata mask (height, width) bool."""
        window = np.s_[top : top + height, left : left + width]
        return self._pixels[window], self._nodata_mask[window]


def read_image(path: Path, channels: int = 3) -> np.ndarray:
    """Read an image with a given number of channels.

    A grey image is repeated into three channels, a colour image becomes grey (ITU-R BT.601 luma) if one
    channel is needed, and a fourth channel is taken as alpha unless four are needed.

    Args:
        path: an image file in one of the formats of `SUFFIXES`.
        channels: number of channels of the result.

    Returns:
        (H, W, channels) uint8, uint16 or float32.

    Raises:
        UnreadableImage: the file is missing, damaged or not an image.
        UserError: its channels or its number type are wrong.
    """
    return ImageReader(channels).read(path).image


def read_header(path: Path) -> Header:
    """Read size, orientation and colour table of an image from its header; may raise `UnreadableImage`."""
    if is_tiff(path):
        return Header(*tiff_header(path))
    with readable(path), opened(path) as image:
        table = bytes((image.mode == "P" and image.getpalette()) or ())
        if image.format == "GIF" and table[::3] == table[1::3] == table[2::3]:
            table = b""
        return Header((image.height, image.width), orientation_of(image), table, is_lossy(path, image))


def read_size(path: Path) -> tuple[int, int]:
    """Read (H, W) of an image as viewers show it; may raise `UnreadableImage`."""
    return read_header(path).size()
