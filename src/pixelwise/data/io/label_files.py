"""Read the stored values of mask files: numbers, or colours packed into numbers.

Masks are read as stored; their orientation tag is ignored. Pixels that the mask band or the alpha band of a
TIFF excludes become NaN, which means "no label".
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window

from pixelwise.data.io.images import ImageReader
from pixelwise.data.io.photos import is_deep_colour, opened
from pixelwise.data.io.rasters import gdal, open_raster
from pixelwise.data.io.tiff import is_tiff
from pixelwise.data.io.unreadable import readable
from pixelwise.errors import UserError, some

_STRETCHED = {"L;2": 85, "L;4": 17}
"""Factors by which Pillow multiplies the numbers of a grey PNG with fewer than 8 bits."""


class LabelFile:
    """A mask whose rows can be read in parts.

    Attributes:
        shape: (H, W).
        nodata: the number, or packed colour, that means "no label", from the metadata of a TIFF; None if
            there is none.
    """

    shape: tuple[int, int]
    nodata: float | None = None

    def read(self, top: int = 0, rows: int | None = None) -> np.ndarray:
        """Read full rows of the mask, by default all: (rows, W) numbers or packed colours.

        Raises:
            UserError: the file is damaged, or stores colours where numbers are expected.
        """
        raise NotImplementedError


@contextmanager
def open_labels(path: Path, colours: bool = False) -> Iterator[LabelFile]:
    """Open a mask file in a `with` block.

    Args:
        path: the file.
        colours: whether the file stores one colour per class.

    Raises:
        UserError: the file is damaged or not a mask.
    """
    if colours:
        with ImageReader(3, exif="ignore").open(path) as image:
            if image.dtype != np.uint8:
                raise _no_mask(path, f"colours of type {image.dtype}")
            yield _Colours(image)
    elif is_tiff(path):
        with gdal():
            with readable(path):
                dataset = open_raster(path)
            with dataset:
                yield _TiffNumbers(path, dataset)
    else:
        yield _Numbers(_read_numbers(path))


def pack(colours: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 → (H, W) int32, one number for a colour."""
    red, green, blue = np.moveaxis(colours.astype(np.int32), -1, 0)
    return red << 16 | green << 8 | blue


class _Colours(LabelFile):
    """Packed colours of an image in any format."""

    def __init__(self, image: Any) -> None:
        self.image = image
        self.shape = image.shape
        if image.nodata is not None and image.nodata in range(256):
            self.nodata = 0x010101 * int(image.nodata)

    def read(self, top: int = 0, rows: int | None = None) -> np.ndarray:
        height, width = self.shape
        pixels, nodata = self.image.read(top, 0, height - top if rows is None else rows, width)
        colours = pack(pixels)
        return _without(colours, nodata & (colours != self.nodata))


class _Numbers(LabelFile):
    """Numbers in memory."""

    def __init__(self, numbers: np.ndarray) -> None:
        self.numbers = numbers
        self.shape = numbers.shape[0], numbers.shape[1]

    def read(self, top: int = 0, rows: int | None = None) -> np.ndarray:
        return self.numbers[top : None if rows is None else top + rows]


class _TiffNumbers(LabelFile):
    """Numbers of a TIFF as stored: the indices of a colour table; only WhiteIsZero is inverted."""

    def __init__(self, path: Path, dataset: Any) -> None:
        self.path, self.dataset = path, dataset
        self.shape, self.nodata = dataset.shape, dataset.nodata
        drop = dataset.count in (2, 4) and (
            dataset.count == 4 or dataset.colorinterp[-1] is ColorInterp.alpha
        )
        self.bands = list(range(1, dataset.count + (not drop)))
        if len(self.bands) not in (1, 3):
            raise UserError(
                f"{path} has {dataset.count} bands", expected="one band of class indices, or three of colours"
            )
        dtype = np.dtype(dataset.dtypes[0])
        if (len(self.bands) == 3 and dtype != np.uint8) or dtype.kind == "c":
            raise _no_mask(path, f"{'colours' if len(self.bands) == 3 else 'numbers'} of type {dtype}")
        self.has_mask = MaskFlags.per_dataset in dataset.mask_flag_enums[0]
        inverted = dataset.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES" and dtype.kind == "u"
        bits = int(dataset.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", 8 * dtype.itemsize))
        self.white = 2**bits - 1 if inverted else None

    def read(self, top: int = 0, rows: int | None = None) -> np.ndarray:
        window = Window(0, top, self.shape[1], self.shape[0] - top if rows is None else rows)
        with readable(self.path):
            stored = np.moveaxis(self.dataset.read(self.bands, window=window), 0, -1)
            excluded = self.dataset.read_masks(1, window=window) == 0 if self.has_mask else None
        numbers = _one_number(stored, self.path)
        numbers = numbers if self.white is None else self.white - numbers
        return numbers if excluded is None else _without(numbers, excluded)


def _read_numbers(path: Path) -> np.ndarray:
    """Read (H, W) numbers of a file that is not a TIFF; for a PNG with a colour table, the indices."""
    with readable(path), opened(path) as image:
        if is_deep_colour(image):
            raise _no_mask(path, "colours of type uint16")
        raw_mode = str(image.tile[0][3]) if image.format == "PNG" and image.tile else ""
        stored = np.atleast_3d(np.array(image))
        if raw_mode in _STRETCHED:
            stored //= _STRETCHED[raw_mode]
        if image.format == "GIF" and image.mode == "P":
            shown = np.array(image.convert("RGB"))
            stored = shown[..., :1] if (shown == shown[..., :1]).all() else stored
    return _one_number(stored[..., :1] if stored.shape[2] == 2 else stored[..., :3], path)


def _without(numbers: np.ndarray, excluded: np.ndarray) -> np.ndarray:
    """Replace excluded numbers by NaN."""
    return np.where(excluded, np.nan, numbers) if excluded.any() else numbers


def _no_mask(path: Path, found: str) -> UserError:
    return UserError(
        f"{path} is not a mask of class indices or colours",
        found=found,
        expected="whole numbers in one channel, or colours of 8 bits",
        fix="save the masks as 8-bit PNG",
    )


def _one_number(stored: np.ndarray, path: Path) -> np.ndarray:
    """Reduce (H, W, 1), or (H, W, 3) with equal channels, to (H, W)."""
    if stored.shape[2] > 1 and (stored != stored[..., :1]).any():
        colours = np.unique(stored.reshape(-1, 3), axis=0).tolist()
        raise UserError(
            f"{path} stores colours, but no palette defines their classes",
            found=f"{len(colours):,} colours: {some(map(tuple, colours), 4)}",
            expected="class indices, or one colour per class",
            fix="data.palette=[[r,g,b],…] in the order of data.classes, and"
            " 'data.source.labels.palette=${data.palette}'",
        )
    return stored[..., 0]
