"""Rasters of any size, read in windows: georeference, pixels and nodata."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.enums import Resampling

from pixelwise.data.io.images import ImageReader
from pixelwise.data.io.nodata import filled
from pixelwise.data.io.rasters import open_raster


class GeoReference(NamedTuple):
    """Size and georeference of a raster."""

    height: int
    width: int
    crs: CRS | None = None
    transform: Affine = Affine.identity()


class RasterReader:
    """A `Reader` of a TIFF, for use in a `with` block.

    Args:
        file: a TIFF, georeferenced or not.
        reader: the reader of the training images.
        mean: mean of each channel in the units of `pixelwise.models.Normalize`, which replaces nodata pixels;
            None uses the mean of the other pixels that are read.

    Raises:
        UserError: the file is damaged, or its bands or its number type are wrong.
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
        """The nodata value: the user's, or else the file's."""
        return self._tiff.nodata

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray | None:
        """Read pixels (height, width, C); None if all of them are nodata."""
        pixels, nodata = self._tiff.read(top, left, height, width)
        return None if nodata.all() else filled(pixels, nodata, self.mean)

    def valid(self, top: int, rows: int) -> np.ndarray:
        """Return which pixels of these full rows are valid: (rows, W) bool."""
        if not self._tiff.may_be_nodata:
            return np.ones((rows, self.shape[1]), bool)
        return ~self._tiff.read(top, 0, rows, self.shape[1])[1]

    def thumbnail(self, height: int, width: int) -> np.ndarray:
        """Return a preview (height, width, 3) uint8; uint16 and float show the 2nd to 98th percentile."""
        pixels, nodata = self._tiff.overview(height, width)
        bands = pixels[..., :3] if pixels.shape[2] >= 3 else np.repeat(pixels[..., :1], 3, axis=-1)
        if self.dtype == np.uint8:
            return np.where(nodata[..., None], np.uint8(0), bands)
        return np.stack([_stretched(band, ~nodata) for band in np.moveaxis(bands, -1, 0)], axis=-1)


def read_small(file: Path, height: int, width: int) -> np.ndarray:
    """Read the first band of a raster at another size, by nearest neighbour."""
    with open_raster(file) as dataset:
        return dataset.read(1, out_shape=(height, width), resampling=Resampling.nearest)


def _stretched(band: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Scale a band to uint8, from the 2nd to the 98th percentile of its valid pixels."""
    values = band[valid & np.isfinite(band)]
    low, high = np.percentile(values, (2, 98)) if len(values) else (0, 1)
    scaled = (np.where(valid, band, low).astype(np.float32) - low) / max(high - low, 1e-12)
    return np.round(np.clip(np.nan_to_num(scaled), 0, 1) * 255).astype(np.uint8)
