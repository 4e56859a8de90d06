"""The ISPRS Potsdam benchmark: 38 aerial tiles of 6000×6000 pixels at 5 cm, six classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rasterio.windows import Window

from pixelwise.data.corner_palette import CornerPalette
from pixelwise.data.io.listing import existing_root
from pixelwise.data.io.rasters import header, opened, read, windows
from pixelwise.data.labels import LabelError, pack
from pixelwise.data.sources.potsdam_files import (
    BANDS,
    FilesByKind,
    Stored,
    check_known,
    find,
    require,
    tile_name,
)
from pixelwise.data.splits import SPLITS
from pixelwise.data.tiles.cache import FileStamp, RowBlock, prepare
from pixelwise.data.tiles.split import CropSampling, TileSplit
from pixelwise.errors import UserError, some
from pixelwise.inference.tiling import Tiling
from pixelwise.kinds import Colour, FilePath, Fraction, Size
from pixelwise.types import IGNORE, Source

LABELS = ("label", "noBoundary")


class PotsdamTile:
    """One tile, as a `pixelwise.data.tiles.cache.Tile`.

    Args:
        name: id of the tile, such as "2_10".
        images: the files whose bands are stacked, in this order.
        label: the full label, or None if only the eroded one exists.
        eroded: the label without borders, or None.
        full: whether `target` is the full label; otherwise it is the eroded one.
        palette: decoder of the label colours.

    Raises:
        UserError: the files differ in size, or do not have the expected bands.
    """

    dtype: np.dtype = np.dtype(np.uint8)
    meaning: object

    def __init__(
        self,
        name: str,
        images: Mapping[str, Stored],
        label: Stored | None,
        eroded: Stored | None,
        full: bool,
        palette: CornerPalette,
    ) -> None:
        self.name, self.images, self.palette, self.full = name, dict(images), palette, full
        self.labels = [stored for stored in ((label, eroded) if full else (eroded or label,)) if stored]
        self.erode = full or eroded is None
        self.mask_border = not full
        self.meaning = sorted(palette.meanings.items())
        self.reading = "-".join([*images, "full" if full else "eroded"])
        sizes = {}
        for kind, stored in [*images.items(), *((LABELS[0], stored) for stored in self.labels)]:
            raster = header(stored.address, stored)
            sizes[stored] = raster[:2]
            if raster.bands != (expected := BANDS.get(kind, 3)) or raster.dtype != "uint8":
                raise UserError(
                    f"{stored} does not match its name",
                    found=f"{raster.bands} bands of {raster.dtype}",
                    expected=f"{expected} bands of uint8",
                )
        if len({*sizes.values()}) > 1:
            raise UserError(
                f"tile {name}: its files differ in size",
                found="; ".join(f"{stored} {size[0]}×{size[1]}" for stored, size in sizes.items()),
                expected="one size for image and label (height×width)",
            )
        self.shape = (*next(iter(sizes.values())), sum(BANDS[kind] for kind in images))

    def stamps(self) -> list[FileStamp]:
        """Return the stamps of images and labels."""
        return [FileStamp.of(*stored) for stored in (*self.images.values(), *self.labels)]

    def strips(self) -> Iterator[RowBlock]:
        """Yield all rows from top to bottom, with decoded labels."""
        for stored in (*self.images.values(), *self.labels):
            stored.check()
        with ExitStack() as stack:
            images, labels = (
                [(stack.enter_context(opened(file.address, file)), file) for file in files]
                for files in (self.images.values(), self.labels)
            )
            for window in windows(*self.shape[:2]):
                image = np.concatenate([read(*dataset, window) for dataset in images], axis=-1)
                target, *eroded = (self._decoded(*dataset, window) for dataset in labels)
                yield RowBlock(image, target, *((rows == IGNORE) & (target != IGNORE) for rows in eroded))

    def _decoded(self, label: Any, stored: Stored, window: Window) -> np.ndarray:
        """(h, W) uint8 class indices."""
        try:
            return self.palette.decode(pack(read(label, stored, window)), stored)
        except LabelError:  # decode all rows, to count the faults of the whole file
            self.palette.decode(pack(read(label, stored)), stored)
            raise


class Potsdam(Source):
    """The Potsdam release below a folder, unpacked in any way or still zipped.

    Labels are decoded and images prepared for random access once; see `pixelwise.data.tiles.cache`.

    Args:
        root: the folder that contains the release.
        classes: names in the order of the palette.
        palette: colours of the classes in the label files, corners of the colour cube.
        inputs: the files that are stacked to an image, in this order: RGB, IRRG or RGBIR, and nDSM.
        labels: "full", or "eroded" for targets without object borders (the noBoundary files; computed
            if only full labels exist). With full labels, scores of eroded labels are reported as well.
        split: tile ids of "train", "val" and "test".
        partial: leave out tiles of `split` that do not exist, instead of raising an error.
        prepared: folder of the prepared tiles, absolute or relative to `root`.
        window: side, or [height, width], of the windows that validation and test read.
        overlap: minimum overlap of neighbouring windows, as a share of the window.
        draws: how training crops are sampled.
        ignore: further colours of the label files, which become 255.

    Raises:
        UserError: the root or the arguments are wrong, or files are missing.
    """

    exact_bands = True

    def __init__(
        self,
        root: FilePath,
        classes: Sequence[str],
        palette: Sequence[Colour],
        inputs: Sequence[str],
        split: Mapping[str, Sequence[str | int]],
        labels: Literal["full", "eroded"] = "full",
        partial: bool = False,
        prepared: FilePath = "prepared",
        window: Size = 768,
        overlap: Fraction = 0.25,
        draws: CropSampling | None = None,
        ignore: Sequence[Colour] = (),
    ) -> None:
        self.root = existing_root(root)
        self.classes = tuple(classes)
        self.tiling = Tiling(window, overlap)
        self.palette = CornerPalette(classes, palette, ((0, 0, 0), *ignore))
        self.inputs = [str(kind) for kind in inputs]
        if not self.inputs or {*self.inputs} - BANDS.keys():
            raise UserError("data.inputs", found=self.inputs, expected=f"some of {', '.join(BANDS)}")
        if labels not in ("full", "eroded"):
            raise UserError("data.source.labels", found=labels, expected="full or eroded")
        self.full = labels == "full"
        self.cache = self.root / Path(prepared).expanduser()
        self.draws = draws or CropSampling()
        self.draws.indices(self.classes)
        self.split_ids = self._check_split(split, partial)

    @cached_property
    def files(self) -> FilesByKind:
        """The files of the release that this source reads."""
        return find(self.root, [*self.inputs, *LABELS])

    def split(self, name: str) -> TileSplit | None:
        """Return the split, prepared on first use, or None if none of its tiles has a label.

        Raises:
            UserError: files are missing, damaged or do not match.
        """
        ids = self.split_ids.get(name, [])
        if name == "test" and self._lacks_test_labels:
            return None
        required = {kind: self.files[kind] for kind in self.inputs} | {LABELS[0]: self._labels}
        for kind, files in required.items():
            require(files, kind, ids, name)
        tiles = [
            PotsdamTile(
                tile,
                {kind: self.files[kind][tile] for kind in self.inputs},
                self.files[LABELS[0]].get(tile),
                self.files[LABELS[1]].get(tile),
                self.full,
                self.palette,
            )
            for tile in ids
        ]
        prepared = prepare(tiles, self.cache, len(self.classes))
        draws = self.draws if name == "train" else None
        return TileSplit(prepared, self.classes, self.tiling, draws) if tiles else None

    def describe(self) -> str:
        """List the tiles of each split, for the start of a run."""
        listed = (f"{name} {some(ids, 8)}" for name, ids in self.split_ids.items() if ids)
        absent = f"; missing below data.root: {some(self.absent, 8)}" if self.absent else ""
        no_test = "; no test tile has a label, so there is no test split" if self._lacks_test_labels else ""
        return f"tiles: {'; '.join(listed)}{absent}{no_test}"

    @property
    def _labels(self) -> dict[str, Stored]:
        """The label files that can be the target."""
        return self.files[LABELS[0]] | ({} if self.full else self.files[LABELS[1]])

    @property
    def _lacks_test_labels(self) -> bool:
        """Whether no test tile has a label, as in the release for participants."""
        test = self.split_ids["test"]
        return bool(test) and not {*test} & self._labels.keys()

    def _check_split(self, split: Mapping[str, Sequence[str | int]], partial: bool) -> dict[str, list[str]]:
        """Return the ids by split; with `partial`, only those of tiles that exist."""
        if unknown := {*split} - {*SPLITS}:
            raise UserError("data.source.split", found=sorted(unknown), expected="train, val and test")
        ids = {name: [tile_name(tile) for tile in split.get(name) or ()] for name in SPLITS}
        listed = [tile for tiles in ids.values() for tile in tiles]
        if repeated := {tile for tile in listed if listed.count(tile) > 1}:
            raise UserError("data.source.split lists tiles more than once", found=some(sorted(repeated)))
        existing = {tile for kind in self.inputs for tile in self.files[kind]}
        if not partial or not existing & {*listed}:
            check_known(listed, sorted(existing), "data.source.split")
        self.absent = [tile for tile in listed if tile not in existing]
        return {name: [tile for tile in tiles if tile in existing] for name, tiles in ids.items()}
