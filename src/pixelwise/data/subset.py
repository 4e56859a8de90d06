"""Splits derived from another one: some of its items, or all of them kept in memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pixelwise.errors import UserError
from pixelwise.types import Raw, Split


def random_subset(split: Split, count: int, seed: int) -> Subset:
    """Return random samples of a split, chosen by the seed; larger subsets contain smaller ones.

    Raises:
        UserError: the split has fewer samples, or `count` is below 1.
    """
    if not 0 < count <= len(split):
        raise UserError(
            "data.train_samples", found=count, expected=f"1 to {len(split)}, the size of the train split"
        )
    return Subset(split, np.random.default_rng(seed).permutation(len(split))[:count].tolist())


class Subset(Split):
    """Some items of a split, selected by index.

    Windows of large images are used as they are; no random crops are drawn.
    """

    def __init__(self, split: Split, indices: Sequence[int]) -> None:
        self.split, self.indices = split, indices
        self.tiling = split.tiling
        self.remarks = split.remarks
        self.tile_of = split.tile_of and [split.tile_of[index] for index in indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Raw:
        return self.split[self.indices[index]]

    def size(self, index: int) -> tuple[int, int]:
        """(H, W) of one image."""
        return self.split.size(self.indices[index])

    def key(self, index: int) -> str:
        """The item's name in the whole split."""
        return self.split.key(self.indices[index])

    def image(self, index: int) -> np.ndarray:
        """The item's image (H, W, C)."""
        return self.split.image(self.indices[index])

    def target(self, index: int) -> np.ndarray | int:
        """The item's labels."""
        return self.split.target(self.indices[index])

    def verify(self) -> None:
        """Verify the stored copies of the whole split."""
        self.split.verify()

    def stored_bytes(self, index: int) -> int:
        """Bytes of the item's files."""
        return self.split.stored_bytes(self.indices[index])


class InMemory(Subset):
    """All items of a split, each read once; workers forked later share the items that were read before."""

    def __init__(self, split: Split) -> None:
        super().__init__(split, range(len(split)))
        self.draws = split.draws
        self._items: dict[int, Raw] = {}

    def __getitem__(self, index: int) -> Raw:
        if index not in self._items:
            self._items[index] = self.split[index]
        return self._items[index]

    def image(self, index: int) -> np.ndarray:
        """The item's image (H, W, C)."""
        try:
            return self[index].image
        except UserError:  # perhaps only the labels are damaged
            return self.split.image(index)

    def target(self, index: int) -> np.ndarray | int:
        """The item's labels."""
        try:
            return self[index].target
        except UserError:  # perhaps only the image is damaged
            return self.split.target(index)

    def draw(self, index: int, rng: np.random.Generator) -> Raw:
        """Read the image that random crop `index` is cut from, without the cache."""
        return self.split.draw(index, rng)

    @property
    def originals(self) -> list[tuple[str, tuple[int, int], int]]:
        """The stored images of the split."""
        return self.split.originals
