"""Read an image file, whoever asks: training, evaluation, audit and prediction get the same pixels.

An image comes as viewers show it: a colour table becomes its colours, WhiteIsZero is inverted, 1 bit is 0 and
255, CMYK becomes RGB, and an EXIF orientation is applied, as annotation tools label what they show. Alpha is
dropped without compositing, 16 bits stay 16 bits, and an animation gives its first frame. TIFFs are read by
windows (`pixelwise.data.io.tiff`), everything else as a whole through Pillow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from pixelwise.data.io import orientation
from pixelwise.data.io.channels import fit, without_alpha
from pixelwise.data.io.nodata import filled, nodata_at
from pixelwise.data.io.photos import decode, is_deep_colour, orientation_of
from pixelwise.data.io.rasters import gdal
from pixelwise.data.io.tiff import Tiff, is_tiff, tiff_header
from pixelwise.data.io.unreadable import UnreadableImage, readable
from pixelwise.errors import UserError

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
"""Endings of the files that are taken for images, compared in lower case."""


class Header(NamedTuple):
    """What an image file says of itself before its pixels."""

    stored: tuple[int, int]
    """(H, W) of the pixels as they are stored."""
    orientation: int = orientation.UPRIGHT
    """How they are to be turned, 1 to 8."""
    table: bytes = b""
    """The colour table of a PNG: red, green and blue of each index."""

    def size(self, exif: str = "apply") -> tuple[int, int]:
        """(H, W), turned or not."""
        return orientation.shown_size(self.stored, self.orientation) if exif == "apply" else self.stored


class Decoded(NamedTuple):
    """An image as the network's input begins."""

    image: np.ndarray
    """(H, W, C) uint8, uint16 or float32; where it is nodata, the mean of its other pixels."""
    nodata: np.ndarray | None
    """(H, W) bool, or None where no pixel is nodata."""


@dataclass(frozen=True)
class ImageReader:
    """How the image files of a data set are read.

    Args:
        channels: of every image; others are adapted, see `pixelwise.data.io.channels.fit`.
        bands: which of a file's bands these are, as they are stored, counted from 1; None takes the image as
            it is shown.
        nodata: a value that says nothing, in place of the one that a TIFF names; see
            `pixelwise.data.io.nodata`.
        exif: "apply" turns images by their orientation tag, "ignore" takes them as they are stored.
        exact: refuse an image with another number of channels, instead of adapting it.
        option: the config key of `bands` for messages, or "" where there is none.

    Raises:
        UserError: `exif` is neither.
    """

    channels: int = 3
    bands: Sequence[int] | None = None
    nodata: float | None = None
    exif: str = "apply"
    exact: bool = False
    option: str = ""

    def __post_init__(self) -> None:
        orientation.check_choice(self.exif)

    @contextmanager
    def open(self, path: Path) -> Iterator[Tiff | Whole]:
        """The image, to be read by windows within a `with` block.

        Raises:
            UnreadableImage: the file is missing, damaged or no image.
            UserError: its channels or its number type do not fit.
        """
        if not is_tiff(path):
            yield Whole(path, self)
            return
        with gdal(), self.open_tiff(path) as tiff:
            yield tiff

    def open_tiff(self, path: Path) -> Tiff:
        """Open a TIFF as a context manager, inside `pixelwise.data.io.rasters.gdal`; errors as of `open`."""
        return Tiff(path, self.channels, self.bands, self.nodata, self.exif, self.exact, self.option)

    def describe(self, path: Path) -> tuple[tuple[int, int], np.dtype]:
        """(H, W) as it will be read, and the number type, as the header says.

        Raises:
            UnreadableImage: the file is missing, damaged or no image.
            UserError: it does not fit, as far as the header tells.
        """
        if is_tiff(path):
            with self.open(path) as tiff:
                return tiff.shape, tiff.dtype
        with readable(path), Image.open(path) as image:
            is_deep = image.mode.startswith("I;16") or is_deep_colour(image)
        return read_header(path).size(self.exif), np.dtype(np.uint16 if is_deep else np.uint8)

    def may_be_nodata(self, path: Path) -> bool:
        """Whether pixels of an image may be nodata, as far as its header tells."""
        if self.nodata is not None or not is_tiff(path):
            return self.nodata is not None
        with self.open(path) as tiff:
            return tiff.may_be_nodata

    def read(self, path: Path) -> Decoded:
        """Read a whole image.

        Raises:
            UnreadableImage: the file is missing, damaged or no image.
            UserError: its channels or its number type do not fit, or every pixel is nodata.
        """
        with self.open(path) as image:
            pixels, nothing = image.read(0, 0, *image.shape)
            if nothing.all():
                fix = "remove it (and its mask)"
                raise UserError(f"{path} holds nothing but nodata", found=f"nodata={image.nodata}", fix=fix)
        return Decoded(filled(pixels, nothing), nothing if nothing.any() else None)


class Whole:
    """An image that is no TIFF, decoded as a whole and read like one."""

    def __init__(self, path: Path, reader: ImageReader) -> None:
        settings = reader.channels, reader.bands, reader.exif, reader.exact, reader.option
        pixels = without_alpha(decode(path, *settings), reader.channels)
        self.nodata = reader.nodata
        self.may_be_nodata = reader.nodata is not None
        self._nothing = nodata_at(pixels, reader.nodata)
        self._pixels = fit(pixels, reader.channels)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self._nothing.shape[0], self._nothing.shape[1]

    @property
    def dtype(self) -> np.dtype:
        """Of the pixels."""
        return self._pixels.dtype

    def read(self, top: int, left: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (height, width, C), and which of them are nodata (height, width) bool."""
        window = np.s_[top : top + height, left : left + width]
        return self._pixels[window], self._nothing[window]


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
    return ImageReader(channels).read(path).image


def read_header(path: Path) -> Header:
    """Size, orientation and colour table of an image, without its pixels; or `UnreadableImage`."""
    if is_tiff(path):
        return Header(*tiff_header(path))
    with readable(path), Image.open(path) as image:
        table = image.getpalette() if image.mode == "P" and image.format == "PNG" else None
        return Header((image.height, image.width), orientation_of(image), bytes(table or ()))


def read_size(path: Path) -> tuple[int, int]:
    """(H, W) of an image as it is shown, or `UnreadableImage`."""
    return read_header(path).size()
