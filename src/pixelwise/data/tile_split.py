"""Splits of large tiles: windows that cover every pixel once, and random places to train on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np

from pixelwise.augmentation import checks
from pixelwise.data.listing import some
from pixelwise.data.prepared import CELL, Prepared
from pixelwise.errors import UserError, nearest
from pixelwise.types import IGNORE, Raw


class Span(NamedTuple):
    """A window along one axis."""

    start: int
    stop: int
    first: int
    """The first pixel that counts in this window, and not in the one before."""
    end: int
    """Behind the last one."""


class Window(NamedTuple):
    """A rectangle of a tile."""

    tile: int
    rows: Span
    columns: Span


def spans(length: int, size: int, overlap: int) -> list[Span]:
    """Windows of one size, evenly spread, each pixel counting where it is farthest from an end.

    Args:
        length: pixels to cover.
        size: of a window; a shorter axis is one window.
        overlap: pixels that neighbours share at least.
    """
    if length <= size:
        return [Span(0, length, 0, length)]
    count = -(-(length - overlap) // (size - overlap))
    starts = np.linspace(0, length - size, count).round().astype(int).tolist()
    cuts = [0, *((a + size + b) // 2 for a, b in pairwise(starts)), length]
    return [Span(start, start + size, *cuts[i : i + 2]) for i, start in enumerate(starts)]


class Draws:
    """How training crops are drawn from tiles.

    Args:
        count: crops an epoch; null takes about as many as cover the tiles once.
        rare: names of classes that are to be seen more often.
        share: of the crops that are made to hold a pixel of a rare class, all of these equally often.

    Raises:
        UserError: an argument is out of range.
    """

    def __init__(self, count: int | None = None, rare: Sequence[str] = (), share: float = 0.0) -> None:
        if count is not None and (not isinstance(count, int) or count < 1):
            raise UserError("data.source.draws.count", found=count, expected="crops an epoch, 1 or more")
        self.count = count
        self.rare = tuple(rare)
        self.share = checks.number("data.source.draws.share", share, 0, 1)

    def indices(self, classes: Sequence[str]) -> list[int]:
        """The rare classes' indices."""
        if unknown := [name for name in self.rare if name not in classes]:
            near = nearest(unknown[0], classes, 1)
            raise UserError(
                f"data.source.draws.rare: {some(unknown)} is no class",
                expected=some(classes, 12),
                fix=f"perhaps {near[0]}?" if near else None,
            )
        return [list(classes).index(name) for name in self.rare]


class TileSplit:
    """Windows of prepared tiles, each pixel counting in one of them (a `pixelwise.types.Split`).

    What a window shows beyond its own pixels is context: its label there is `IGNORE`.

    Args:
        tiles: in the order of the items.
        classes: names in the order of the indices.
        window: side, or [height, width], of the windows.
        overlap: pixels that neighbouring windows share at least.
        draws: how training draws its crops; None for a split that is not trained on.

    Raises:
        UserError: window and overlap do not fit.
    """

    def __init__(
        self,
        tiles: Sequence[Prepared],
        classes: Sequence[str],
        window: int | Sequence[int] = 1024,
        overlap: int = 0,
        draws: Draws | None = None,
    ) -> None:
        height, width = checks.extent("data.source.window", window)
        if not isinstance(overlap, int) or not 0 <= 2 * overlap <= min(height, width):
            raise UserError(
                "data.source.overlap", found=overlap, expected="from 0 to half of data.source.window"
            )
        self.tiles = list(tiles)
        self.windows = [
            Window(index, *both)
            for index, tile in enumerate(self.tiles)
            for both in product(spans(tile.height, height, overlap), spans(tile.width, width, overlap))
        ]
        self._area = np.cumsum([tile.height * tile.width for tile in self.tiles])
        self._share, self._rare = 0.0, []
        self.draws: int | None = None
        """Training crops an epoch, or None where the split is not trained on."""
        if draws is not None:
            self.draws = draws.count or len(self.windows)
            self._share = draws.share
            self._rare = [r for r in (self._squares(i) for i in draws.indices(classes)) if len(r)]

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> Raw:
        border = self._tile(index).border
        border = None if border is None else np.array(border[self._area_of(index)])
        return Raw(self.image(index), self.target(index), self.key(index), border=border)

    def draw(self, index: int, rng: np.random.Generator) -> Raw:
        """A whole tile to cut a crop from, still on disk; perhaps with a pixel that the crop has to show.

        Args:
            index: of the crop within the epoch. Tiles are drawn in proportion to their area, and evenly:
                crop `index` falls into that part of their joint area.
            rng: decides the rest.
        """
        assert self.draws is not None
        position, lucky = rng.random(2)
        if self._rare and lucky < self._share:
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
        """Tile, row and column."""
        window = self.windows[index]
        return f"{self.tiles[window.tile].name}/{window.rows.start}_{window.columns.start}"

    def size(self, index: int) -> tuple[int, int]:
        """(H, W) of a window."""
        _, rows, columns = self.windows[index]
        return rows.stop - rows.start, columns.stop - columns.start

    def image(self, index: int) -> np.ndarray:
        """(H, W, C) in the source's dtype."""
        return np.array(self._tile(index).image[self._area_of(index)])

    def target(self, index: int) -> np.ndarray:
        """(H, W) uint8 index mask."""
        _, rows, columns = self.windows[index]
        target = np.full(self.size(index), IGNORE, np.uint8)
        own = np.s_[
            rows.first - rows.start : rows.end - rows.start,
            columns.first - columns.start : columns.end - columns.start,
        ]
        target[own] = self._tile(index).target[rows.first : rows.end, columns.first : columns.end]
        return target

    def stored_bytes(self, index: int) -> int:
        """Bytes of the tile's files: changes with most edits, and costs no reading."""
        return self._tile(index).stored_bytes

    def _tile(self, index: int) -> Prepared:
        return self.tiles[self.windows[index].tile]

    def _area_of(self, index: int) -> tuple[slice, slice]:
        _, rows, columns = self.windows[index]
        return np.s_[rows.start : rows.stop, columns.start : columns.stop]

    def _squares(self, label: int) -> np.ndarray:
        """(N, 4) tile, label, row and column of every square that holds the class."""
        found = [np.argwhere(tile.cells[label] > 0) for tile in self.tiles]
        return np.concatenate([np.insert(at, 0, [[i], [label]], 1) for i, at in enumerate(found)]).astype(int)
