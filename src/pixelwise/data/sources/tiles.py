"""A user's own large rasters with label rasters beside them: any number of bands, nodata ignored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.data.io.images import ImageReader, read_header
from pixelwise.data.io.label_files import LabelFile, open_labels
from pixelwise.data.io.nodata import filled
from pixelwise.data.io.rasters import ROWS
from pixelwise.data.labels import LabelError, Labels
from pixelwise.data.remarks import how_exif_fits, of_orientation
from pixelwise.data.sources.folder import FolderSegmentation
from pixelwise.data.tiles.cache import FileStamp, RowBlock, prepare
from pixelwise.data.tiles.split import CropSampling, TileSplit
from pixelwise.errors import UserError, some
from pixelwise.inference.tiling import Tiling
from pixelwise.types import NODATA


class RasterTile:
    """An image with its label raster, as a `pixelwise.data.tiles.cache.Tile`.

    Args:
        name: its key.
        image: the image.
        label: its label, of the same size.
        labels: what the label's values mean.
        reader: how the image is read, which tells where it is nodata.

    Raises:
        UserError: sizes, bands or number types do not fit.
    """

    erode = hide = False
    reading = "tile"
    shape: tuple[int, int, int]
    meaning: object

    def __init__(self, name: str, image: Path, label: Path, labels: Labels, reader: ImageReader) -> None:
        self.name, self.image, self.label, self.labels, self.reader = name, image, label, labels, reader
        size, self.dtype = reader.describe(image)
        self.headers = read_header(image), read_header(label)
        """Of image and label."""
        truth = self.headers[1].stored
        if size != truth:
            raise UserError(
                f"{label} differs in size from its image",
                found=f"{truth[0]}×{truth[1]}",
                expected=f"{size[0]}×{size[1]} (height×width)",
                fix=how_exif_fits(self.headers[0], truth, reader.exif),
            )
        self.shape = (*size, reader.channels)
        bands = None if reader.bands is None else list(reader.bands)
        self.meaning = (bands, reader.nodata, reader.exif, labels.identity)

    def stamps(self) -> list[FileStamp]:
        """Those of image and label."""
        return [FileStamp.of(path) for path in (self.image, self.label)]

    def strips(self) -> Iterator[RowBlock]:
        """All rows from top to bottom, labels decoded."""
        useful = False
        with (
            self.reader.open(self.image) as image,
            open_labels(self.label, self.labels.has_palette) as label,
        ):
            for top in range(0, self.shape[0], ROWS):
                rows = min(ROWS, self.shape[0] - top)
                pixels, nothing = image.read(top, 0, rows, self.shape[1])
                target = self._decoded(label, top, rows)
                target[nothing] = NODATA
                useful |= not nothing.all()
                yield RowBlock(filled(pixels, nothing), target)
        if not useful:
            raise UserError(f"{self.image} holds nothing but nodata", fix="remove it and its label")

    def _decoded(self, label: LabelFile, top: int, rows: int) -> np.ndarray:
        """(rows, W) uint8 class indices."""
        try:
            return self.labels.decode(label.read(top, rows), self.label, label.nodata)
        except LabelError:  # found in these rows: look at all of them, to count the faults and tell the first
            self.labels.decode(label.read(), self.label, label.nodata)
            raise


class Tiles(FolderSegmentation):
    """Rasters and label rasters of equal name, in the layouts of `FolderSegmentation`, of any size.

    They are decoded once; see `pixelwise.data.tiles.cache`.

    Args:
        root: the data set's folder.
        labels: what the values in label rasters mean.
        classes: names in the order of their indices.
        channels: bands of every image.
        bands: which bands to read, counted from 1; None reads all.
        nodata: a value that says nothing, in place of what the files say of themselves.
        prepared: folder of the prepared tiles, absolute or below `root`.
        window: side, or [height, width], of the windows in which validation and test see a tile.
        overlap: share of the window that it has at least in common with the next one.
        draws: how training crops are drawn.
        **layout: names of folders, suffixes and shares of the splits, as in `FolderSegmentation`.

    Raises:
        UserError: the root or the arguments are wrong.
    """

    exact_bands = True

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
        self.classes = tuple(classes)
        self.reader = replace(
            self.reader, bands=bands, nodata=nodata, exact=self.exact_bands, option="data.source.bands"
        )
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
            RasterTile(f"{parent}{key}", image, label, self.labels, self.reader)
            for key, (image, label) in sorted(self.pairs(name).items())
        ]
        if len(types := {tile.dtype.name for tile in tiles}) > 1:
            raise UserError(
                f"the images of the {name} split differ in their number type",
                found="; ".join(f"{t}: {some(x.name for x in tiles if x.dtype == t)}" for t in sorted(types)),
                expected="one type, for a batch holds one",
            )
        draws = self.draws if name == "train" else None
        if not tiles:
            return None
        split = TileSplit(prepare(tiles, self.cache, len(self.classes)), self.classes, self.tiling, draws)
        images = {tile.name: tile.headers[0] for tile in tiles}
        split.remarks = of_orientation(images, self.reader.exif, [tile.headers[1] for tile in tiles])
        return split
