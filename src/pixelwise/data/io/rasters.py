"""GeoTIFFs and other rasters of any size, read in strips of rows to limit the use of memory."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.windows import Window

from pixelwise.errors import UserError

# Photographs have no georeference. The filter is global, as a temporary one is not thread-safe.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)

CACHE = 64
"""Size of GDAL's cache of decoded blocks in megabytes. GDAL's default is 5 % of the machine's memory."""

ROWS = 512
"""Height of a strip in rows."""


class Header(NamedTuple):
    """The header of a raster."""

    height: int
    width: int
    bands: int
    dtype: str
    nodata: float | None


@contextmanager
def gdal() -> Iterator[None]:
    """Limit GDAL's cache inside the block, and keep GDAL off the network."""
    with rasterio.Env(
        GDAL_CACHEMAX=CACHE, GDAL_TIFF_INTERNAL_MASK=True, CPL_VSIL_CURL_ALLOWED_EXTENSIONS="none"
    ):
        yield


def open_raster(address: object, driver: str = "GTiff") -> Any:
    """Open a raster with one driver of GDAL, by default as a TIFF.

    GDAL chooses a driver by the content of a file: a VRT with the name of a TIFF would read any other file. A
    TIFF can do so too, as it may name the file of its overviews.

    Raises:
        RasterioIOError: the file is missing, damaged, of another format, or reads a file of another folder.
    """
    with gdal():
        dataset = rasterio.open(str(address), driver=driver)
        beside = Path(str(address)).parent
        for file in map(Path, dataset.files):
            if not file.is_relative_to(beside) or ".." in file.relative_to(beside).parts:
                dataset.close()
                raise RasterioIOError(f"it reads {file}, outside of its folder")
    return dataset


@contextmanager
def opened(address: object, name: object = None) -> Iterator[Any]:
    """Open a raster as a rasterio dataset; reads from it must be inside `raster_errors`.

    Raises:
        UserError: the file is missing, damaged or not a raster.
    """
    with gdal():
        with raster_errors(name or address):
            dataset = open_raster(address, "JPEG" if str(address).lower().endswith(".jpg") else "GTiff")
        with dataset:
            yield dataset


@contextmanager
def raster_errors(name: object) -> Iterator[None]:
    """Turn errors of GDAL inside the block into one `UserError` that names the file."""
    try:
        yield
    except (RasterioError, OSError) as error:
        cause = error.__cause__ or error
        raise UserError(
            f"{name} cannot be read as a raster",
            found=str(cause).strip() or type(cause).__name__,
            fix="restore the file from its origin: it is damaged or cut short",
        ) from error


def check_complete(file: Path) -> None:
    """Raise `OSError` if a raster just written is incomplete: GDAL does not say so if closing it fails."""
    try:
        rasterio.open(file).close()
    except RasterioError as error:
        raise OSError(f"{file} could not be written completely") from error


def header(address: object, name: object = None) -> Header:
    """Read size, bands and number type of a raster, without its pixels."""
    with opened(address, name) as dataset:
        return Header(dataset.height, dataset.width, dataset.count, dataset.dtypes[0], dataset.nodata)


def read(dataset: Any, name: object, window: Window | None = None) -> np.ndarray:
    """Read pixels (h, W, C) of a strip, or of the whole raster, in its own dtype.

    Raises:
        UserError: the file is damaged.
    """
    with raster_errors(name):
        return np.moveaxis(dataset.read(window=window), 0, -1)


def windows(height: int, width: int) -> Iterator[Window]:
    """Yield the strips of a raster, from top to bottom."""
    for top in range(0, height, ROWS):
        yield Window(0, top, width, min(ROWS, height - top))
