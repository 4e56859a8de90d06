"""Rasters of any size, read by windows: where they lie on earth, their pixels, and where they are nodata."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.enums import Resampling

from pixelwise.data.io.images import ImageReader
from pixelwise.data.io.nodata import filled


class GeoReference(NamedTuple):
    """Where on earth the pixels of a raster lie."""

    height: int
    width: int
    crs: CRS | None = None
    transform: Affine = Affine.identity()


class RasterReader:
    """A `Reader` of a TIFF, to be used in a `with` block.

    Args:
        file: a TIFF, georeferenced or not.
        reader: how training read its images.
        mean: of each channel, in units of `pixelwise.models.Normalize`: what nodata pixels become; None takes
            the mean of the other pixels of what is read.

    Raises:
        UserError: the file is damaged, or its bands or its number type do not fit.
    """

    def __init__(self, file: Path, reader: ImageReader, mean: Sequence[float] | None = None) -> None:
        self.file, self.mean = file, mean
        self._tiff = reader.open_tiff(file)
        self.dtype = self._tiff.dtype

    def __enter__(self) -> RasterReader:
        return self

    def __exit__(self, *error: object) -> None:
        self._tiff.__exit__(*error)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self._tiff.shape

    @property
    def place(self) -> GeoReference:
        """Size, CRS and transform."""
        return GeoReference(*self.shape, *self._tiff.georeference)

    @property
    def nodata(self) -> float | None:
        """The value that says nothing: the user's, or else the file's."""
        return self._tiff.nodata

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray | None:
        """Pixels (height, width, C); None where none is valid."""
        pixels, nothing = self._tiff.read(top, left, height, width)
        return None if nothing.all() else filled(pixels, nothing, self.mean)

    def valid(self, top: int, rows: int) -> np.ndarray:
        """Which pixels of these full rows are valid: (rows, W) bool."""
        if not self._tiff.may_be_nodata:
            return np.ones((rows, self.shape[1]), bool)
        return ~self._tiff.read(top, 0, rows, self.shape[1])[1]

    def thumbnail(self, height: int, width: int) -> np.ndarray:
        """The image (height, width, 3) uint8 for the eye; deep bands from their 2nd to 98th percentile."""
        pixels, nothing = self._tiff.overview(height, width)
        bands = pixels[..., :3] if pixels.shape[2] >= 3 else np.repeat(pixels[..., :1], 3, axis=-1)
        if self.dtype == np.uint8:
            return np.where(nothing[..., None], np.uint8(0), bands)
        return np.stack([_stretched(band, ~nothing) for band in np.moveaxis(bands, -1, 0)], axis=-1)


def read_small(file: Path, height: int, width: int) -> np.ndarray:
    """The first band of a raster at another size, by its nearest pixels."""
    with rasterio.open(file) as dataset:
        return dataset.read(1, out_shape=(height, width), resampling=Resampling.nearest)


def _stretched(band: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """uint8, from the 2nd to the 98th percentile of the valid pixels."""
    values = band[valid & np.isfinite(band)]
    low, high = np.percentile(values, (2, 98)) if len(values) else (0, 1)
    scaled = (np.where(valid, band, low).astype(np.float32) - low) / max(high - low, 1e-12)
    return np.round(np.clip(np.nan_to_num(scaled), 0, 1) * 255).astype(np.uint8)
