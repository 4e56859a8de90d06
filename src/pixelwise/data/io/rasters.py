"""GeoTIFFs and other rasters of any size, read in strips of rows so that none is in memory as a whole."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from pixelwise.errors import UserError

# Photographs lie nowhere on earth. For the whole process, as a filter for a while is none among threads.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)

CACHE = 64
"""Megabytes of decoded blocks that GDAL may keep. Its own limit is 5 % of the machine's memory."""

ROWS = 512
"""Height of a strip."""


class Header(NamedTuple):
    """What a raster says of itself."""

    height: int
    width: int
    bands: int
    dtype: str
    nodata: float | None


@contextmanager
def gdal() -> Iterator[None]:
    """Bound GDAL's cache."""
    with rasterio.Env(GDAL_CACHEMAX=CACHE, GDAL_TIFF_INTERNAL_MASK=True):
        yield


@contextmanager
def opened(address: object, name: object = None) -> Iterator[Any]:
    """A rasterio data set; what is read from it is to be read under `faults_of`.

    Raises:
        UserError: the file is missing, damaged or no raster.
    """
    with gdal():
        with faults_of(name or address):
            dataset = rasterio.open(str(address))
        with dataset:
            yield dataset


@contextmanager
def faults_of(name: object) -> Iterator[None]:
    """Turn what GDAL raises inside the block into one `UserError` that names the file."""
    try:
        yield
    except (RasterioError, OSError) as error:
        cause = error.__cause__ or error
        raise UserError(
            f"{name} cannot be read as a raster",
            found=str(cause).strip() or type(cause).__name__,
            fix="restore the file from its origin: it is damaged or cut short",
        ) from error


def header(address: object, name: object = None) -> Header:
    """Size, bands and number type of a raster, without its pixels."""
    with opened(address, name) as dataset:
        return Header(dataset.height, dataset.width, dataset.count, dataset.dtypes[0], dataset.nodata)


def read(dataset: Any, name: object, window: Window | None = None) -> np.ndarray:
    """Pixels (h, W, C) of a strip, or of all of the raster, in its own dtype.

    Raises:
        UserError: the file is damaged.
    """
    with faults_of(name):
        return np.moveaxis(dataset.read(window=window), 0, -1)


def windows(height: int, width: int) -> Iterator[Window]:
    """The strips of a raster, from top to bottom."""
    for top in range(0, height, ROWS):
        yield Window(0, top, width, min(ROWS, height - top))
