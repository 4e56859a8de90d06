"""The ISPRS Potsdam benchmark: 38 aerial tiles of 6000×6000 pixels at 5 cm, six classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.windows import Window

from pixelwise.data.corner_palette import CornerPalette
from pixelwise.data.io.listing import existing_root
from pixelwise.data.io.rasters import header, opened, read, windows
from pixelwise.data.labels import LabelError, pack
from pixelwise.data.sources.potsdam_files import BANDS, Found, Stored, check_known, find, require, tile_name
from pixelwise.data.splits import SPLITS
from pixelwise.data.tiles.cache import FileStamp, RowBlock, prepare
from pixelwise.data.tiles.split import CropSampling, TileSplit
from pixelwise.errors import UserError, some
from pixelwise.inference.tiling import Tiling
from pixelwise.types import IGNORE, Source

LABELS = ("label", "noBoundary")


class PotsdamTile:
    """One tile, as a `pixelwise.data.tiles.cache.Tile`.

    Args:
        name: its id, such as "2_10".
        images: the files whose bands are stacked, in this order.
        label: the full label, or None where only the eroded one is there.
        eroded: the label without borders, or None.
        full: whether `target` is the full label; else it is the eroded one.
        palette: what the labels' colours mean.

    Raises:
        UserError: the files differ in size, or have not the bands they should have.
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
        self.hide = not full
        self.meaning = sorted(palette.meanings.items())
        self.reading = "-".join([*images, "full" if full else "eroded"])
        sizes = {}
        for kind, stored in [*images.items(), *((LABELS[0], stored) for stored in self.labels)]:
            found = header(stored.address, stored)
            sizes[stored] = found[:2]
            if found.bands != (expected := BANDS.get(kind, 3)) or found.dtype != "uint8":
                raise UserError(
                    f"{stored} is not what its name says",
                    found=f"{found.bands} bands of {found.dtype}",
                    expected=f"{expected} of uint8",
                )
        if len({*sizes.values()}) > 1:
            raise UserError(
                f"tile {name}: its files differ in size",
                found="; ".join(f"{stored} {size[0]}×{size[1]}" for stored, size in sizes.items()),
                expected="one size for image and label (height×width)",
            )
        self.shape = (*next(iter(sizes.values())), sum(BANDS[kind] for kind in images))

    def stamps(self) -> list[FileStamp]:
        """Those of images and labels."""
        return [FileStamp.of(*stored) for stored in (*self.images.values(), *self.labels)]

    def strips(self) -> Iterator[RowBlock]:
        """All rows from top to bottom, labels decoded."""
        with ExitStack() as stack:
            images, labels = (
                [(stack.enter_context(opened(each.address, each)), each) for each in stored]
                for stored in (self.images.values(), self.labels)
            )
            for window in windows(*self.shape[:2]):
                image = np.concatenate([read(*each, window) for each in images], axis=-1)
                target, *eroded = (self._decoded(*each, window) for each in labels)
                yield RowBlock(image, target, *((each == IGNORE) & (target != IGNORE) for each in eroded))

    def _decoded(self, label: Any, stored: Stored, window: Window) -> np.ndarray:
        """(h, W) uint8 class indices."""
        try:
            return self.palette.decode(pack(read(label, stored, window)), stored)
        except LabelError:  # found in these rows: look at all of them, to count the faults and tell the first
            self.palette.decode(pack(read(label, stored)), stored)
            raise


class Potsdam(Source):
    """The release below a folder, unpacked in any way or still zipped.

    Labels are decoded and images laid out for random access once; see `pixelwise.data.tiles.cache`.

    Args:
        root: the folder.
        classes: names in the order of the palette.
        palette: colours of the classes in the label files, corners of the colour cube.
        inputs: what the images are made of, in this order: RGB, IRRG or RGBIR, and nDSM.
        labels: "full", or "eroded" for targets without object borders (files called noBoundary; computed
            where only full labels are at hand). With full labels, scores count eroded ones besides.
        split: tiles of "train", "val" and "test" by id.
        partial: leave out tiles of `split` that are not there, instead of refusing to start.
        prepared: folder of the prepared tiles, absolute or below `root`.
        window: side, or [height, width], of the windows in which validation and test see a tile.
        overlap: share of the window that it has at least in common with the next one.
        draws: how training crops are drawn.
        ignore: further colours of the label files, which become 255.

    Raises:
        UserError: the root or the arguments are wrong, or files are missing.
    """

    exact_bands = True

    def __init__(
        self,
        root: str | Path,
        classes: Sequence[str],
        palette: Sequence[Sequence[int]],
        inputs: Sequence[str],
        split: Mapping[str, Sequence[str | int]],
        labels: str = "full",
        partial: bool = False,
        prepared: str | Path = "prepared",
        window: int | Sequence[int] = 768,
        overlap: float = 0.25,
        draws: CropSampling | None = None,
        ignore: Sequence[Sequence[int]] = (),
    ) -> None:
        self.root = existing_root(root)
        self.classes = tuple(classes)
        self.tiling = Tiling(window, overlap, key="data.source.")
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
    def found(self) -> Found:
        """The files of the release that are of use here."""
        return find(self.root, [*self.inputs, *LABELS])

    def split(self, name: str) -> TileSplit | None:
        """The split, prepared if it was not, or None where none of its tiles has a label.

        Raises:
            UserError: files are missing, damaged or do not fit together.
        """
        ids = self.split_ids.get(name, [])
        if name == "test" and self._is_blind:
            return None
        files_of = {kind: self.found[kind] for kind in self.inputs} | {LABELS[0]: self._labels}
        for kind, files in files_of.items():
            require(files, kind, ids, name)
        tiles = [
            PotsdamTile(
                tile,
                {each: self.found[each][tile] for each in self.inputs},
                self.found[LABELS[0]].get(tile),
                self.found[LABELS[1]].get(tile),
                self.full,
                self.palette,
            )
            for tile in ids
        ]
        prepared = prepare(tiles, self.cache, len(self.classes))
        draws = self.draws if name == "train" else None
        return TileSplit(prepared, self.classes, self.tiling, draws) if tiles else None

    def describe(self) -> str:
        """Which tiles are in which split, for the start of a run."""
        listed = (f"{name} {some(ids, 8)}" for name, ids in self.split_ids.items() if ids)
        absent = f"; not below data.root: {some(self.absent, 8)}" if self.absent else ""
        blind = "; no test tile has a label, so that there is no test split" if self._is_blind else ""
        return f"tiles: {'; '.join(listed)}{absent}{blind}"

    @property
    def _labels(self) -> dict[str, Stored]:
        """The label files that will do."""
        return self.found[LABELS[0]] | ({} if self.full else self.found[LABELS[1]])

    @property
    def _is_blind(self) -> bool:
        """Whether only participants' labels are there: none of the test tiles."""
        test = self.split_ids["test"]
        return bool(test) and not {*test} & self._labels.keys()

    def _check_split(self, split: Mapping[str, Sequence[str | int]], partial: bool) -> dict[str, list[str]]:
        """Ids by split; if `partial`, of tiles that are there."""
        if unknown := {*split} - {*SPLITS}:
            raise UserError("data.source.split", found=sorted(unknown), expected="train, val and test")
        ids = {name: [tile_name(tile) for tile in split.get(name) or ()] for name in SPLITS}
        named = [tile for tiles in ids.values() for tile in tiles]
        if twice := {tile for tile in named if named.count(tile) > 1}:
            raise UserError("data.source.split names tiles more than once", found=some(sorted(twice)))
        there = {tile for kind in self.inputs for tile in self.found[kind]}
        if not partial or not there & {*named}:
            check_known(named, sorted(there), "data.source.split")
        self.absent = [tile for tile in named if tile not in there]
        return {name: [tile for tile in tiles if tile in there] for name, tiles in ids.items()}
