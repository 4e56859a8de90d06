"""Splits of large tiles: windows for evaluation, and random crops for training."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

from pixelwise.checks import checked, class_indices
from pixelwise.data.tiles.cache import CELL, Prepared
from pixelwise.inference.tiling import Tiling
from pixelwise.kinds import Count, Share
from pixelwise.types import IGNORE, NODATA, Raw, Split


@checked
class CropSampling:
    """How training crops are sampled from tiles.

    Args:
        count: crops per epoch; null uses the number of windows of the tiles.
        rare: names of classes to sample more often.
        share: share of the crops that must contain a pixel of a rare class; all rare classes equally often.

    Raises:
        UserError: an argument is out of range.
    """

    def __init__(self, count: Count | None = None, rare: Sequence[str] = (), share: Share = 0.0) -> None:
        self.count = count
        self.rare = tuple(rare)
        self.share = share

    def indices(self, classes: Sequence[str]) -> list[int]:
        """Return the indices of the rare classes."""
        return class_indices("data.source.draws.rare", self.rare, classes)


class TileSplit(Split):
    """Overlapping windows of prepared tiles, in reading order.

    Args:
        tiles: prepared tiles in the order of the items.
        classes: names in the order of the indices.
        tiling: size and overlap of the windows.
        draws: how training crops are sampled; None for a split that is not used for training.
    """

    def __init__(
        self,
        tiles: Sequence[Prepared],
        classes: Sequence[str],
        tiling: Tiling,
        draws: CropSampling | None = None,
    ) -> None:
        self.tiles, self.tiling = list(tiles), tiling
        windows = [tiling.windows((tile.height, tile.width)) for tile in self.tiles]
        self.windows = list(chain.from_iterable(windows))
        self.tile_of: list[int] = [tile for tile, of_tile in enumerate(windows) for _ in of_tile]
        self._area = np.cumsum([tile.height * tile.width for tile in self.tiles])
        self._share, self._rare = 0.0, []
        self.remarks: list[str] = []
        if draws is not None:
            self.draws = draws.count or len(self.windows)
            self._share = draws.share
            self._rare = [r for r in (self._squares(i) for i in draws.indices(classes)) if len(r)]

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> Raw:
        tile, window = self._tile(index), self.windows[index]
        border = None if tile.border is None else np.array(tile.border[window.area])
        target = np.array(tile.target[window.area])
        nodata = target == NODATA
        target[nodata] = IGNORE
        return Raw(
            self.image(index),
            target,
            self.key(index),
            border=border,
            nodata=nodata if nodata.any() else None,
            window=window,
        )

    def draw(self, index: int, rng: np.random.Generator) -> Raw:
        """Return a memory-mapped tile to cut a crop from, perhaps with a pixel that the crop must contain.

        Args:
            index: index of the crop within the epoch. Tiles are drawn in proportion to their area: the total
                area is divided into one equal part per crop, and crop `index` falls into its part.
            rng: random number generator of the crop.
        """
        assert self.draws is not None
        position, chance = rng.random(2)
        if self._rare and chance < self._share:
            squares = self._rare[rng.integers(len(self._rare))]
            index, label, row, column = squares[rng.integers(len(squares))].tolist()
            tile = self.tiles[index]
            square = np.s_[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL]
            rows, columns = np.nonzero(np.array(tile.target[square]) == label)
            chosen = rng.integers(len(rows))
            focus = (int(column * CELL + columns[chosen]), int(row * CELL + rows[chosen]))
            return Raw(tile.image, tile.target, f"{tile.name} near {focus[1]},{focus[0]}", focus=focus)
        place = (index + position) / self.draws * self._area[-1]
        tile = self.tiles[min(int(np.searchsorted(self._area, place, "right")), len(self.tiles) - 1)]
        return Raw(tile.image, tile.target, tile.name)

    def key(self, index: int) -> str:
        """Name of the tile, first row and first column of the window."""
        row, column = self.windows[index]
        return f"{self._tile(index).name}/{row.start}_{column.start}"

    def size(self, index: int) -> tuple[int, int]:
        """(H, W) of a window."""
        row, column = self.windows[index]
        return row.size, column.size

    def image(self, index: int) -> np.ndarray:
        """(H, W, C) in the source's dtype."""
        return np.array(self._tile(index).image[self.windows[index].area])

    def target(self, index: int) -> np.ndarray:
        """(h, w) uint8 index mask without the pixels of later windows: all targets hold each pixel once."""
        (top, _, _, rows, _), (left, _, _, columns, _) = self.windows[index]
        target = np.array(self._tile(index).target[top : top + rows, left : left + columns])
        target[target == NODATA] = IGNORE
        return target

    def verify(self) -> None:
        """Compare all prepared tiles with their checksums."""
        for tile in self.tiles:
            tile.verify()

    def stored_bytes(self, index: int) -> int:
        """Size in bytes of the files of the window's tile."""
        return self._tile(index).stored_bytes

    @property
    def originals(self) -> list[tuple[str, tuple[int, int], int]]:
        """Name, (H, W) and bytes of each tile."""
        return [(tile.name, (tile.height, tile.width), tile.stored_bytes) for tile in self.tiles]

    def _tile(self, index: int) -> Prepared:
        return self.tiles[self.tile_of[index]]

    def _squares(self, label: int) -> np.ndarray:
        """(N, 4) tile, class, row and column of every square that contains the class."""
        squares = [np.argwhere(tile.cells[label] > 0) for tile in self.tiles]
        return np.concatenate([np.insert(at, 0, [[i], [label]], 1) for i, at in enumerate(squares)]).astype(
            int
        )
