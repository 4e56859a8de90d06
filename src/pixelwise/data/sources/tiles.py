"""Large rasters with label rasters: any number of bands, nodata ignored."""

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
from pixelwise.data.remarks import exif_fix, orientation_remarks
from pixelwise.data.sources.folder import FolderSegmentation
from pixelwise.data.tiles.cache import FileStamp, RowBlock, prepare
from pixelwise.data.tiles.split import CropSampling, TileSplit
from pixelwise.errors import UserError, some
from pixelwise.inference.tiling import Tiling
from pixelwise.kinds import Count, FilePath, Fraction, Nodata, Size
from pixelwise.types import NODATA


class RasterTile:
    """An image with its label raster, as a `pixelwise.data.tiles.cache.Tile`.

    Args:
        name: key of the tile.
        image: file of the image.
        label: file of the label, of the same size.
        labels: decoder of the label values.
        reader: how the image and its nodata value are read.

    Raises:
        UserError: sizes, bands or number types do not match.
    """

    erode = mask_border = False
    reading = "tile"
    shape: tuple[int, int, int]
    meaning: object

    def __init__(self, name: str, image: Path, label: Path, labels: Labels, reader: ImageReader) -> None:
        self.name, self.image, self.label, self.labels, self.reader = name, image, label, labels, reader
        size, self.dtype = reader.describe(image)
        self.headers = read_header(image), read_header(label)
        """Headers of image and label."""
        label_size = self.headers[1].stored
        if size != label_size:
            raise UserError(
                f"{label} differs in size from its image",
                found=f"{label_size[0]}×{label_size[1]}",
                expected=f"{size[0]}×{size[1]} (height×width)",
                fix=exif_fix(self.headers[0], label_size, reader.exif),
            )
        self.shape = (*size, reader.channels)
        bands = None if reader.bands is None else list(reader.bands)
        self.meaning = (bands, reader.nodata, reader.exif, labels.identity)

    def stamps(self) -> list[FileStamp]:
        """Return the stamps of image and label."""
        return [FileStamp.of(path) for path in (self.image, self.label)]

    def strips(self) -> Iterator[RowBlock]:
        """Yield all rows from top to bottom, with decoded labels."""
        has_data = False
        with (
            self.reader.open(self.image) as image,
            open_labels(self.label, self.labels.has_palette) as label,
        ):
            for top in range(0, self.shape[0], ROWS):
                rows = min(ROWS, self.shape[0] - top)
                pixels, nodata = image.read(top, 0, rows, self.shape[1])
                target = self._decoded(label, top, rows)
                target[nodata] = NODATA
                has_data |= not nodata.all()
                yield RowBlock(filled(pixels, nodata), target)
        if not has_data:
            raise UserError(f"{self.image} contains only nodata pixels", fix="remove it and its label")

    def _decoded(self, label: LabelFile, top: int, rows: int) -> np.ndarray:
        """(rows, W) uint8 class indices."""
        try:
            return self.labels.decode(label.read(top, rows), self.label, label.nodata)
        except LabelError:  # decode all rows, to count the faults of the whole file
            self.labels.decode(label.read(), self.label, label.nodata)
            raise


class Tiles(FolderSegmentation):
    """Rasters of any size and label rasters with the same names, in the layouts of `FolderSegmentation`.

    They are decoded once; see `pixelwise.data.tiles.cache`.

    Args:
        root: the data set's folder.
        labels: decoder of the values in label rasters.
        classes: names in the order of their indices.
        channels: number of bands of every image.
        bands: the bands to read, counted from 1; None reads all.
        nodata: the nodata value, in place of the one in the metadata of the files.
        prepared: folder of the prepared tiles, absolute or relative to `root`.
        window: side, or [height, width], of the windows that validation and test read.
        overlap: minimum overlap of neighbouring windows, as a share of the window.
        draws: how training crops are sampled.
        **layout: folder names, suffixes and split shares, as in `FolderSegmentation`.

    Raises:
        UserError: the root or the arguments are wrong.
    """

    exact_bands = True
    is_stratified = False

    def __init__(
        self,
        root: FilePath,
        labels: Labels,
        classes: Sequence[str],
        channels: Count = 3,
        bands: Sequence[Count] | None = None,
        nodata: Nodata | None = None,
        prepared: FilePath = "prepared",
        window: Size = 768,
        overlap: Fraction = 0.25,
        draws: CropSampling | None = None,
        **layout: Any,
    ) -> None:
        super().__init__(root, labels, channels, **layout)
        self.classes = tuple(classes)
        self.reader = replace(
            self.reader, bands=bands, nodata=nodata, exact=self.exact_bands, option="data.source.bands"
        )
        self.tiling = Tiling(window, overlap)
        self.cache = self.root / Path(prepared).expanduser()
        self.draws = draws or CropSampling()
        self.draws.indices(self.classes)

    def split(self, name: str) -> TileSplit | None:
        """Return the split, prepared on first use, or None if it is empty.

        Raises:
            UserError: files are missing, damaged or do not match.
        """
        parent = "" if "" in self.places else f"{name}/"  # several splits may use the same name
        tiles = [
            RasterTile(f"{parent}{key}", image, label, self.labels, self.reader)
            for key, (image, label) in sorted(self.pairs(name).items())
        ]
        if len(types := {tile.dtype.name for tile in tiles}) > 1:
            raise UserError(
                f"the images of the {name} split have different number types",
                found="; ".join(f"{t}: {some(x.name for x in tiles if x.dtype == t)}" for t in sorted(types)),
                expected="one type, as images are stacked into batches",
            )
        draws = self.draws if name == "train" else None
        if not tiles:
            return None
        split = TileSplit(prepare(tiles, self.cache, len(self.classes)), self.classes, self.tiling, draws)
        images = {tile.name: tile.headers[0] for tile in tiles}
        labels = {tile.name: tile.headers[1] for tile in tiles}
        split.remarks = orientation_remarks(images, self.reader.exif, list(labels.values()))
        split.remarks += self.mask_remarks(labels)
        return split
