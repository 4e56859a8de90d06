"""TIFFs of any size, read in windows through GDAL, with their pixels as viewers show them.

GDAL returns the stored numbers. This module interprets them: WhiteIsZero is inverted, fewer than 8 bits are
scaled to 0…255, indices of a colour table become colours (or greys), and an orientation tag is applied unless
the file is georeferenced, as the georeference is that of the stored pixels.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import rasterio
from rasterio.enums import ColorInterp, Compression, MaskFlags, Resampling
from rasterio.windows import Window

from pixelwise.data.io import orientation
from pixelwise.data.io.channels import channel_error, check_type, fit, fit_channels
from pixelwise.data.io.nodata import equals, nodata_at
from pixelwise.data.io.rasters import gdal, open_raster
from pixelwise.data.io.unreadable import readable
from pixelwise.errors import UserError, counted

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_LAYOUTS = {42: ("I", 4, "H", "HHI4s"), 43: ("Q", 8, "Q", "HHQ8s")}
"""By version: type and place of the first directory's offset, type of its count, and an entry (TIFF 6.0,
section 2, and the BigTIFF design)."""


def is_tiff(path: Path) -> bool:
    """Whether a file is a TIFF by its first bytes, independent of its suffix."""
    with readable(path), path.open("rb") as file:
        return file.read(4) in _MAGIC


class Tiff:
    """A TIFF that is read in windows, for use in a `with` block.

    Args:
        file: a TIFF of any kind that GDAL reads; if it has several pages, the first is read.
        channels: number of channels to return; see `pixelwise.data.io.channels.fit`.
        bands: the bands of the file to read, as stored, counted from 1; None reads the image as viewers show
            it.
        nodata: the nodata value, in place of the one of the file.
        exif: "apply" rotates the image by its orientation tag, "ignore" does not.
        exact: raise an error for another number of channels, instead of converting it.
        option: config key of `bands` for messages, or "" if there is none.

    Raises:
        UserError: the file is damaged, or its bands or its number type are wrong.
    """

    def __init__(
        self,
        file: Path,
        channels: int,
        bands: Sequence[int] | None = None,
        nodata: float | None = None,
        exif: str = "apply",
        exact: bool = False,
        option: str = "",
    ) -> None:
        self.file, self.channels, self.exact, self.option = file, channels, exact, option
        with readable(file):
            self._dataset = open_raster(file)
        try:
            self.as_stored = bands is not None
            chosen = self._chosen(self._dataset.indexes if bands is None else bands)
            check_type(file, [self._dataset.dtypes[band - 1] for band in chosen])
            self._find_meaning()
            self.bands = chosen if self.as_stored else self._shown_bands()
            self._check_channels()
        except UserError:
            self._dataset.close()
            raise
        self.tag = tag_of(self._dataset, file) if exif == "apply" else orientation.UPRIGHT
        self.nodata = self._dataset.nodata if nodata is None else nodata
        flags = [self._dataset.mask_flag_enums[band - 1] for band in self.bands]
        self.has_mask = all(MaskFlags.per_dataset in flag for flag in flags)

    def _find_meaning(self) -> None:
        """Find how stored numbers are converted to those that viewers show."""
        structure, of_band = (self._dataset.tags(band, ns="IMAGE_STRUCTURE") for band in (0, 1))
        stored = np.dtype(self._dataset.dtypes[0])
        self._bits = int(of_band.get("NBITS", 8 * stored.itemsize))
        self._inverted = structure.get("MINISWHITE") == "YES" and stored.kind == "u"
        self._table: np.ndarray | None = None
        if self._dataset.colorinterp[0] is ColorInterp.palette and not self._inverted and not self.as_stored:
            table = np.zeros((2 ** (8 * stored.itemsize), 3), np.uint8)
            for index, colour in self._dataset.colormap(1).items():
                table[index] = colour[:3]
            self._table = table[:, :1] if (table == table[:, :1]).all() else table
        # GDAL lets libtiff convert these to RGB, and adds an alpha band that the file does not have
        self._is_converted = structure.get("SOURCE_COLOR_SPACE") in ("CMYK", "CIELAB")

    def _shown_bands(self) -> list[int]:
        """All bands except an alpha band that is not needed; `exact` keeps it, as it may be data."""
        count = self._dataset.count
        is_alpha = self._dataset.colorinterp[-1] is ColorInterp.alpha or self.channels in (1, 3)
        adapts = count in (2, 4) and count != self.channels and is_alpha and not self.exact
        return list(range(1, count + (not (adapts or self._is_converted))))

    def _chosen(self, bands: Sequence[int]) -> list[int]:
        if not all(isinstance(band, int) and 1 <= band <= self._dataset.count for band in bands):
            raise UserError(
                f"{self.option or 'bands'}={list(bands)}: {self.file} has no such band",
                expected=f"1 to {self._dataset.count}",
                fix=f"{self.option}=null reads the image as viewers show it" if self.option else None,
            )
        return list(bands)

    def _check_channels(self) -> None:
        stored = len(self.bands) if self._table is None else self._table.shape[1]
        colours = " ".join(band.name for band in self._dataset.colorinterp)
        chosen = f"bands {self.bands} of " if self.as_stored else ""
        plain = not (self._inverted or self._bits < 8 or self._table is not None or self._is_converted)
        if stored != self.channels and (
            self.exact or self.as_stored or not fit_channels(stored, self.channels)
        ):
            raise channel_error(
                self.file,
                stored,
                self.channels,
                f"{chosen}{counted(self._dataset.count, 'band')} ({colours})",
                self.option,
                selectable=plain and self._dataset.count > self.channels,
            )

    def __enter__(self) -> Tiff:
        return self

    def __exit__(self, *error: object) -> None:
        self._dataset.close()

    @property
    def stored_size(self) -> tuple[int, int]:
        """(H, W) as stored."""
        return self._dataset.height, self._dataset.width

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) as shown."""
        return orientation.shown_size(self.stored_size, self.tag)

    @property
    def dtype(self) -> np.dtype:
        """Number type of the pixels that are read."""
        return np.dtype(self._dataset.dtypes[self.bands[0] - 1] if self._table is None else np.uint8)

    @property
    def may_be_nodata(self) -> bool:
        """Whether pixels may be nodata, as far as the header shows."""
        return self.nodata is not None or self.dtype.kind == "f" or self.has_mask

    @property
    def georeference(self) -> tuple[rasterio.crs.CRS | None, rasterio.Affine]:
        """CRS and transform; None and the identity for a rotated image, which has no georeference."""
        if self.tag != orientation.UPRIGHT:
            return None, rasterio.Affine.identity()
        return self._dataset.crs, self._dataset.transform

    def read(self, top: int, left: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Read a window of the image as shown.

        Returns:
            Pixels (height, width, C), and a nodata mask (height, width) bool; see `pixelwise.data.io.nodata`.
            In a valid pixel of a float image, a band that holds the nodata value is set to 0.
        """
        place = orientation.stored_window(top, left, height, width, self.shape, self.tag)
        return self._read(Window(place[1], place[0], place[3], place[2]), place[2:], Resampling.nearest)

    def overview(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Read the whole image at another size; returns the same as `read`."""
        numbers = self._table is None and self._bits >= 8  # averages of indices have no meaning
        method = Resampling.average if numbers else Resampling.nearest
        return self._read(None, orientation.shown_size((height, width), self.tag), method)

    def _read(
        self, window: Window | None, size: tuple[int, int], method: Resampling
    ) -> tuple[np.ndarray, np.ndarray]:
        with readable(self.file):
            shape = (len(self.bands), *size)
            planes = self._dataset.read(self.bands, window=window, out_shape=shape, resampling=method)
            stored = cv2.merge(list(planes)).reshape(*size, -1)  # thirty times as fast as NumPy's copy
            nodata = nodata_at(stored, self.nodata)
            if self.has_mask:
                nodata |= self._dataset.read_masks(self.bands[0], window=window, out_shape=size) == 0
        if self.nodata is not None and stored.dtype.kind == "f":
            stored[equals(stored, self.nodata)] = 0
        pixels = fit(self._displayed(stored), self.channels)
        return orientation.shown(pixels, self.tag), orientation.shown(nodata, self.tag)

    def _displayed(self, stored: np.ndarray) -> np.ndarray:
        """Convert stored numbers (h, w, C) to those that viewers show."""
        if self.as_stored:
            return stored
        if self._table is not None:
            return self._table[stored[..., 0]]
        full = 2**self._bits - 1
        if self._inverted:
            stored = full - stored
        return stored if self._bits >= 8 else np.rint(stored * (255 / full)).astype(np.uint8)


def tiff_header(file: Path) -> tuple[tuple[int, int], int, bytes, bool]:
    """Read (H, W) as stored, the orientation to apply, the colour table, and whether it holds a JPEG."""
    with gdal(), readable(file), open_raster(file) as dataset:
        has_table = dataset.colorinterp[0] is ColorInterp.palette
        colours = dataset.colormap(1).values() if has_table else ()
        table = bytes(level for colour in colours for level in colour[:3])
        is_jpeg = dataset.compression is Compression.jpeg
        return (dataset.height, dataset.width), tag_of(dataset, file), table, is_jpeg


def tag_of(dataset: rasterio.DatasetReader, file: Path) -> int:
    """Return the orientation to apply to an open TIFF: 1 (upright) if it is georeferenced."""
    is_on_map = dataset.crs is not None or not dataset.transform.is_identity or dataset.gcps[0]
    return orientation.UPRIGHT if is_on_map else _orientation(file)


def _orientation(file: Path) -> int:
    """Read the orientation tag of a TIFF's first page, which GDAL does not return."""
    with readable(file), file.open("rb") as stream:
        head = stream.read(16)
        order = "<" if head[:2] == b"II" else ">"
        offset, place, count, entry = _LAYOUTS[struct.unpack_from(f"{order}H", head, 2)[0]]
        stream.seek(struct.unpack_from(order + offset, head, place)[0])
        entries = struct.unpack(order + count, stream.read(struct.calcsize(order + count)))[0]
        record = struct.Struct(order + entry)
        for tag, _, _, value in record.iter_unpack(stream.read(entries * record.size)):
            if tag == orientation.TAG:
                return orientation.valid_tag(struct.unpack_from(f"{order}H", value)[0])
    return orientation.UPRIGHT
