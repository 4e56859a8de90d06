"""A user's own large rasters with label rasters beside them: any number of bands, nodata ignored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.windows import Window

from pixelwise.data.io.rasters import faults_of, header, opened, windows
from pixelwise.data.labels import LabelError, Labels, pack
from pixelwise.data.sources.folder import FolderSegmentation
from pixelwise.data.tiles.cache import FileStamp, RowBlock, prepare
from pixelwise.data.tiles.split import CropSampling, TileSplit
from pixelwise.errors import UserError, some
from pixelwise.inference.tiling import Tiling
from pixelwise.types import IGNORE


class RasterTile:
    """A raster with its label raster, as a `pixelwise.data.tiles.cache.Tile`.

    A pixel is nodata, and its label `IGNORE`, where the raster's own mask, nodata value or alpha band says
    so, where every band holds `nodata`, and where a band is not finite. In a float image each value that is
    nodata or not finite becomes 0, as in `pixelwise.data.io.rasters.RasterReader`.

    Args:
        name: its key.
        image: the raster.
        label: its label, of the same size.
        labels: what the label's values mean.
        channels: bands of every image.
        bands: which bands to read, counted from 1; None reads all.
        nodata: a value that says nothing, besides what the file says of itself.

    Raises:
        UserError: sizes, bands or number types do not fit.
    """

    erode = hide = False
    reading = "tile"
    shape: tuple[int, int, int]
    meaning: object

    def __init__(
        self,
        name: str,
        image: Path,
        label: Path,
        labels: Labels,
        channels: int,
        bands: Sequence[int] | None = None,
        nodata: float | None = None,
    ) -> None:
        self.name, self.image, self.label, self.labels, self.nodata = name, image, label, labels, nodata
        found, truth = header(image), header(label)
        self.bands = list(bands) if bands else list(range(1, found.bands + 1))
        if len(self.bands) != channels or not {*self.bands} <= {*range(1, found.bands + 1)}:
            raise UserError(
                f"{image} has {found.bands} bands",
                found=f"bands {self.bands} to read",
                expected=f"{channels} (data.channels)",
                fix=f"data.channels={found.bands}, or data.source.bands says which to read",
            )
        if found.dtype not in ("uint8", "uint16", "float32"):
            raise UserError(f"{image} stores {found.dtype}", expected="uint8, uint16 or float32")
        if found[:2] != truth[:2]:
            raise UserError(
                f"{label} differs in size from its image",
                found=f"{truth.height}×{truth.width}",
                expected=f"{found.height}×{found.width} (height×width)",
            )
        if truth.bands not in ((3, 4) if labels.has_palette else (1,)):
            raise UserError(
                f"{label} has {truth.bands} bands",
                expected="3 of colour, as there is a palette" if labels.has_palette else "1 of class numbers",
            )
        self.shape = (found.height, found.width, channels)
        self.dtype = np.dtype(found.dtype)
        self.meaning = (self.bands, nodata, sorted(labels.meanings.items()))

    def stamps(self) -> list[FileStamp]:
        """Those of image and label."""
        return [FileStamp.of(path) for path in (self.image, self.label)]

    def strips(self) -> Iterator[RowBlock]:
        """All rows from top to bottom, labels decoded."""
        useful = False
        with opened(self.image) as image, opened(self.label) as label:
            for window in windows(*self.shape[:2]):
                with faults_of(self.image):
                    pixels = np.moveaxis(image.read(self.bands, window=window), 0, -1)
                    nothing = image.dataset_mask(window=window) == 0
                if self.nodata is not None:
                    nothing |= (pixels == self.nodata).all(-1)
                if self.dtype == np.float32:  # one NaN would spoil a whole batch
                    nothing |= ~np.isfinite(pixels).all(-1)
                    pixels = self._filled(image, window, pixels)
                target = self._decoded(label, window)
                target[nothing] = IGNORE
                useful |= not nothing.all()
                yield RowBlock(pixels, target)
        if not useful:
            raise UserError(f"{self.image} holds nothing but nodata", fix="remove it and its label")

    def _filled(self, image: Any, window: Window, pixels: np.ndarray) -> np.ndarray:
        """Float pixels (h, W, C) with 0 for what is nodata or not finite, also in one band of several."""
        with faults_of(self.image):
            masks = np.moveaxis(image.read_masks(self.bands, window=window), 0, -1)
        said = np.isfinite(pixels) & (masks != 0)
        if self.nodata is not None:
            said &= pixels != self.nodata
        return np.where(said, pixels, np.float32(0))

    def _decoded(self, label: Any, window: Window) -> np.ndarray:
        """(h, W) uint8 class indices."""
        try:
            return self.labels.decode(self._stored(label, window), self.label)
        except LabelError:  # found in these rows: look at all of them, to count the faults and tell the first
            self.labels.decode(self._stored(label, None), self.label)
            raise

    def _stored(self, label: Any, window: Window | None) -> np.ndarray:
        """(h, W) what the label's rows store, as `Labels.decode` takes it."""
        with faults_of(self.label):
            stored = label.read(window=window)
        if self.labels.has_palette:
            return pack(np.moveaxis(stored[:3], 0, -1))
        numbers = stored[0]
        if label.nodata is not None:
            numbers = np.where(numbers == label.nodata, IGNORE, numbers)
        if numbers.dtype.kind not in "iu" or numbers.min() < 0 or numbers.max() >= 2**16:
            found = f"{numbers.dtype}, {numbers.min()} to {numbers.max()}"
            raise UserError(f"{self.label} is no label of class numbers", found=found, expected="0 to 65535")
        return numbers


class Tiles(FolderSegmentation):
    """Rasters and label rasters of equal name, in the layouts of `FolderSegmentation`, of any size.

    They are decoded once; see `pixelwise.data.tiles.cache`.

    Args:
        root: the data set's folder.
        labels: what the values in label rasters mean.
        classes: names in the order of their indices.
        channels: bands of every image.
        bands: which bands to read, counted from 1; None reads all.
        nodata: a value that says nothing, besides what the files say of themselves.
        prepared: folder of the prepared tiles, absolute or below `root`.
        window: side, or [height, width], of the windows in which validation and test see a tile.
        overlap: share of the window that it has at least in common with the next one.
        draws: how training crops are drawn.
        **layout: names of folders, suffixes and shares of the splits, as in `FolderSegmentation`.

    Raises:
        UserError: the root or the arguments are wrong.
    """

    def __init__(
        self,
        root: str | Path,
        labels: Labels,
        classes: Sequence[str],
        channels: int = 3,
        bands: Sequence[int] | None = None,
        nodata: float | None = None,
        prepared: str | Path = "prepared",
        window: int | Sequence[int] = 768,
        overlap: float = 0.25,
        draws: CropSampling | None = None,
        **layout: Any,
    ) -> None:
        super().__init__(root, labels, channels, **layout)
        self.classes, self.bands, self.nodata = tuple(classes), bands, nodata
        self.tiling = Tiling(window, overlap, key="data.source.")
        self.cache = self.root / Path(prepared).expanduser()
        self.draws = draws or CropSampling()
        self.draws.indices(self.classes)

    def split(self, name: str) -> TileSplit | None:
        """The split, prepared if it was not, or None.

        Raises:
            UserError: files are missing, damaged or do not fit together.
        """
        parent = "" if "" in self.places else f"{name}/"  # one name may stand in several splits
        tiles = [
            RasterTile(f"{parent}{key}", image, label, self.labels, self.channels, self.bands, self.nodata)
            for key, (image, label) in sorted(self.pairs(name).items())
        ]
        if len(types := {tile.dtype.name for tile in tiles}) > 1:
            raise UserError(
                f"the images of the {name} split differ in their number type",
                found="; ".join(f"{t}: {some(x.name for x in tiles if x.dtype == t)}" for t in sorted(types)),
                expected="one type, for a batch holds one",
            )
        draws = self.draws if name == "train" else None
        prepared = prepare(tiles, self.cache, len(self.classes))
        return TileSplit(prepared, self.classes, self.tiling, draws) if tiles else None
