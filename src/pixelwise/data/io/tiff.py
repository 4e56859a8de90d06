"""TIFFs of any size, read by windows through GDAL, with their pixels as viewers show them.

GDAL gives the numbers as they are stored. What they mean is resolved here: WhiteIsZero is inverted, fewer
than 8 bits are stretched to 0…255, a colour table becomes its colours (or its greys), and an orientation tag
is applied unless the file is georeferenced: then it lies on the map as it is stored.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import rasterio
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.windows import Window

from pixelwise.data.io import orientation
from pixelwise.data.io.channels import check_type, fit, fit_channels, misfit
from pixelwise.data.io.nodata import nodata_at
from pixelwise.data.io.rasters import gdal
from pixelwise.data.io.unreadable import readable
from pixelwise.errors import UserError, counted

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_LAYOUTS = {42: ("I", 4, "H", "HHI4s"), 43: ("Q", 8, "Q", "HHQ8s")}
"""By version: type and place of the first directory's offset, type of its count, and an entry (TIFF 6.0,
section 2, and the BigTIFF design)."""


def is_tiff(path: Path) -> bool:
    """Whether a file is a TIFF by its first bytes, whatever its name ends in."""
    with readable(path), path.open("rb") as file:
        return file.read(4) in _MAGIC


class Tiff:
    """An image file whose windows are read one by one, to be used in a `with` block.

    Args:
        file: a TIFF of any kind that GDAL reads; of several pages the first.
        channels: of what is read; see `pixelwise.data.io.channels.fit`.
        bands: which of the file's bands these are, as they are stored, counted from 1; None takes the image
            as it is shown.
        nodata: a value that says nothing, in place of the file's.
        exif: "apply" turns the image by its orientation tag, "ignore" does not.
        exact: refuse a number of channels other than asked for, instead of adapting it.
        option: the config key of `bands` for messages, or "" where there is none.

    Raises:
        UserError: the file is damaged, or its bands or its number type do not fit.
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
            self._dataset = rasterio.open(file, driver="GTiff")
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
        """How stored numbers become those that are shown."""
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
        # GDAL has libtiff convert these to colours, and adds an alpha band that the file does not have
        self._is_converted = structure.get("SOURCE_COLOR_SPACE") in ("CMYK", "CIELAB")

    def _shown_bands(self) -> list[int]:
        """All bands but alpha, where it is not asked for; `exact` keeps it, as it may be none."""
        count = self._dataset.count
        is_alpha = self._dataset.colorinterp[-1] is ColorInterp.alpha or self.channels in (1, 3)
        adapts = count in (2, 4) and count != self.channels and is_alpha and not self.exact
        return list(range(1, count + (not (adapts or self._is_converted))))

    def _chosen(self, bands: Sequence[int]) -> list[int]:
        if not all(isinstance(band, int) and 1 <= band <= self._dataset.count for band in bands):
            raise UserError(
                f"{self.option or 'bands'}={list(bands)}: {self.file} has no such band",
                expected=f"1 to {self._dataset.count}",
                fix=f"{self.option}=null reads the image as it is shown" if self.option else None,
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
            raise misfit(
                self.file,
                stored,
                self.channels,
                f"{chosen}{counted(self._dataset.count, 'band')} ({colours})",
                self.option,
                chooses=plain and self._dataset.count > self.channels,
            )

    def __enter__(self) -> Tiff:
        return self

    def __exit__(self, *error: object) -> None:
        self._dataset.close()

    @property
    def stored_size(self) -> tuple[int, int]:
        """(H, W) as the file says."""
        return self._dataset.height, self._dataset.width

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) as shown."""
        return orientation.shown_size(self.stored_size, self.tag)

    @property
    def dtype(self) -> np.dtype:
        """Of what is read."""
        return np.dtype(self._dataset.dtypes[self.bands[0] - 1] if self._table is None else np.uint8)

    @property
    def may_be_nodata(self) -> bool:
        """Whether pixels may be nodata, as far as the header tells."""
        return self.nodata is not None or self.dtype.kind == "f" or self.has_mask

    @property
    def georeference(self) -> tuple[rasterio.crs.CRS | None, rasterio.Affine]:
        """CRS and transform; of a turned image, which has none, nothing and the identity."""
        if self.tag != orientation.UPRIGHT:
            return None, rasterio.Affine.identity()
        return self._dataset.crs, self._dataset.transform

    def read(self, top: int, left: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """A window of the shown image.

        Returns:
            Pixels (height, width, C), and which of them are nodata (height, width) bool; see
            `pixelwise.data.io.nodata`. In a valid pixel of a float image, a band that holds nodata is 0.
        """
        place = orientation.stored_window(top, left, height, width, self.shape, self.tag)
        return self._read(Window(place[1], place[0], place[3], place[2]), place[2:], Resampling.nearest)

    def overview(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """The whole image at another size, as `read` gives it."""
        numbers = self._table is None and self._bits >= 8  # an average of indices is no index
        method = Resampling.average if numbers else Resampling.nearest
        return self._read(None, orientation.shown_size((height, width), self.tag), method)

    def _read(
        self, window: Window | None, size: tuple[int, int], method: Resampling
    ) -> tuple[np.ndarray, np.ndarray]:
        with readable(self.file):
            shape = (len(self.bands), *size)
            planes = self._dataset.read(self.bands, window=window, out_shape=shape, resampling=method)
            stored = cv2.merge(list(planes)).reshape(*size, -1)  # thirty times as fast as NumPy's copy
            nothing = nodata_at(stored, self.nodata)
            if self.has_mask:
                nothing |= self._dataset.read_masks(self.bands[0], window=window, out_shape=size) == 0
        if self.nodata is not None and stored.dtype.kind == "f":
            stored[stored == self.nodata] = 0
        pixels = fit(self._meant(stored), self.channels)
        return orientation.shown(pixels, self.tag), orientation.shown(nothing, self.tag)

    def _meant(self, stored: np.ndarray) -> np.ndarray:
        """What stored numbers (h, w, C) show."""
        if self.as_stored:
            return stored
        if self._table is not None:
            return self._table[stored[..., 0]]
        full = 2**self._bits - 1
        if self._inverted:
            stored = full - stored
        return stored if self._bits >= 8 else np.rint(stored * (255 / full)).astype(np.uint8)


def tiff_header(file: Path) -> tuple[tuple[int, int], int]:
    """(H, W) as stored, and the orientation by which it is to be turned."""
    with gdal(), readable(file), rasterio.open(file, driver="GTiff") as dataset:
        return (dataset.height, dataset.width), tag_of(dataset, file)


def tag_of(dataset: rasterio.DatasetReader, file: Path) -> int:
    """The orientation by which an opened TIFF is to be turned: 1 of one that is georeferenced."""
    is_on_map = dataset.crs is not None or not dataset.transform.is_identity or dataset.gcps[0]
    return orientation.UPRIGHT if is_on_map else _orientation(file)


def _orientation(file: Path) -> int:
    """The orientation tag of a TIFF's first page, which GDAL does not tell."""
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
