"""GeoTIFFs and other rasters of any size, read in strips of rows so that none is in memory as a whole."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from pixelwise.data.io.images import readable
from pixelwise.errors import UserError

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
    """Bound GDAL's cache, and leave out its remark on images that lie nowhere on earth."""
    with warnings.catch_warnings(), rasterio.Env(GDAL_CACHEMAX=CACHE, GDAL_TIFF_INTERNAL_MASK=True):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
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


class GeoReference(NamedTuple):
    """Where on earth the pixels of a raster lie."""

    height: int
    width: int
    crs: CRS | None = None
    transform: Affine = Affine.identity()


class RasterReader:
    """A `Reader` of a GeoTIFF, to be used in a `with` block.

    A pixel is valid unless all its bands are nodata, or the file's mask or alpha band leaves it out.

    Args:
        file: a TIFF, georeferenced or not.
        channels: bands that the model takes.
        bands: which of the file's bands these are, counted from 1; None takes all.
        nodata: a value that says nothing, besides what the file says of itself.

    Raises:
        UserError: the file is damaged, or its bands or its number type do not fit.
    """

    def __init__(
        self, file: Path, channels: int, bands: Sequence[int] | None = None, nodata: float | None = None
    ) -> None:
        self.file, self._told = file, nodata
        with readable(file):
            self._dataset = rasterio.open(file)
        self.bands = list(bands or range(1, self._dataset.count + 1))
        try:
            self._check(channels)
        except UserError:
            self._dataset.close()
            raise
        flags = [flag for band in self.bands for flag in self._dataset.mask_flag_enums[band - 1]]
        self.has_mask = not all(flag.name == "all_valid" for flag in flags)
        self.dtype = np.dtype(self._dataset.dtypes[0])

    def _check(self, channels: int) -> None:
        stored = self._dataset.count
        colours = " ".join(c.name for c in self._dataset.colorinterp)
        if not all(1 <= band <= stored for band in self.bands):
            raise UserError(
                f"bands={self.bands}: {self.file} has no such band",
                expected=f"1 to {stored}",
                fix="bands=null reads all of a file that holds nothing but the image's bands",
            )
        if len(self.bands) != channels:
            some = ",".join(str(min(band, stored)) for band in range(1, channels + 1))
            raise UserError(
                f"{self.file}: the run was trained on images of {channels} bands",
                found=f"{len(self.bands)} bands ({colours})",
                expected=f"{channels} (data.channels)",
                fix=f"'bands=[{some}]' reads these bands of each file, for example",
            )
        dtypes = {self._dataset.dtypes[band - 1] for band in self.bands}
        if len(dtypes) > 1 or not dtypes <= {"uint8", "uint16", "float32"}:
            raise UserError(
                f"{self.file} stores its pixels as {' and '.join(sorted(dtypes))}",
                expected="uint8, uint16 or float32",
                fix=f"gdal_translate -ot Float32 {self.file.name} OUT.tif, and train on the same",
            )

    def __enter__(self) -> RasterReader:
        return self

    def __exit__(self, *error: object) -> None:
        self._dataset.close()

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self._dataset.height, self._dataset.width

    @property
    def place(self) -> GeoReference:
        """Size, CRS and transform."""
        return GeoReference(*self.shape, self._dataset.crs, self._dataset.transform)

    @property
    def nodata(self) -> float | None:
        """The value that means "nothing here", as the file says or else the user."""
        return self._told if self._dataset.nodata is None else self._dataset.nodata

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray | None:
        """Pixels (height, width, C); None where none is valid.

        In a float image what is nodata or not finite becomes 0: it would spread through the network.
        """
        window = Window(left, top, width, height)
        pixels = self._pixels(window)
        said = self._said(window, pixels)
        if not said.any():
            return None
        if self.dtype.kind == "f":
            pixels[~(np.isfinite(pixels) & said)] = 0
        return np.ascontiguousarray(pixels.transpose(1, 2, 0))

    def valid(self, top: int, rows: int) -> np.ndarray:
        """Which pixels of these full rows are valid: (rows, W) bool."""
        window = Window(0, top, self.shape[1], rows)
        said = self._said(window, None if self._told is None else self._pixels(window))
        whole = np.broadcast_to(said, (len(self.bands), rows, self.shape[1]))
        return whole.any(0)  # type: ignore[return-value]

    def _pixels(self, window: Window) -> np.ndarray:
        """(C, h, w)."""
        with readable(self.file):
            return self._dataset.read(self.bands, window=window)

    def _said(self, window: Window, pixels: np.ndarray | None) -> np.ndarray:
        """Which of the pixels say something: bool (C, h, w), or () where all do."""
        said: np.ndarray = np.array(True)
        if self.has_mask:
            with readable(self.file):
                said = self._dataset.read_masks(self.bands, window=window) != 0
        if pixels is not None and self._told is not None:
            said = said & np.not_equal(pixels, self._told)
        return said

    def thumbnail(self, height: int, width: int) -> np.ndarray:
        """The image (height, width, 3) uint8 for the eye; deep bands from their 2nd to 98th percentile."""
        with readable(self.file):
            bands = self.bands[:3] if len(self.bands) >= 3 else self.bands[:1] * 3
            pixels = self._dataset.read(
                bands, out_shape=(3, height, width), resampling=Resampling.average, masked=True
            )
        shown = [_stretched(band) if self.dtype != np.uint8 else band.filled(0) for band in pixels]
        return np.stack(shown, axis=-1)


def read_small(file: Path, height: int, width: int) -> np.ndarray:
    """The first band of a raster at another size, by its nearest pixels."""
    with rasterio.open(file) as dataset:
        return dataset.read(1, out_shape=(height, width), resampling=Resampling.nearest)


def _stretched(band: np.ma.MaskedArray) -> np.ndarray:
    """uint8, from the 2nd to the 98th percentile of the valid pixels."""
    values = band.compressed()
    values = values[np.isfinite(values)]
    low, high = np.percentile(values, (2, 98)) if len(values) else (0, 1)
    scaled = (np.nan_to_num(band.filled(low)).astype(np.float32) - low) / max(high - low, 1e-12)
    return np.round(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
