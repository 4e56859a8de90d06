"""The mixing of a batch, as configured by `conf/mixing/*.yaml`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pixelwise.augmentation.mixing.mix import Mix
from pixelwise.checks import checked
from pixelwise.kinds import Share


class MixedBatch(NamedTuple):
    """A mixed batch of B rows."""

    images: np.ndarray
    """(B, H, W, C)."""
    masks: np.ndarray | None
    """(B, H, W), or None without masks."""
    share: np.ndarray
    """(B,) float32: share of the row's own target; the rest belongs to the row `partner`."""
    partner: np.ndarray
    """(B,) row of the other target."""


@checked
class Mixing:
    """Mix each row of a batch with other rows, at random and independently of the other rows.

    The partner of row i of B is row i + B/2, that of the second half row i - B/2; the order of the samples is
    random already. For this pairing, a process that has every P-th row needs no rows of other processes, and
    mixes the same pairs as one process, if B is a multiple of 2P (with a mosaic, 4P).

    Args:
        choices: the ways of mixing by name; one is drawn for each mixed row. None switches an entry off, and
            without any entry nothing is mixed.
        p: probability that a row is mixed.

    Raises:
        UserError: `p` is not a probability.
    """

    def __init__(self, choices: Mapping[str, Mix | None], p: Share = 1.0) -> None:
        self.choices = {name: mix for name, mix in choices.items() if mix is not None}
        self.p = p

    def is_soft(self, has_masks: bool) -> bool:
        """Whether targets become soft: with one label per image by any mixing, with masks by blending."""
        return any(mix.blends_masks or not has_masks for mix in self.choices.values())

    def __call__(
        self, images: np.ndarray, masks: np.ndarray | None, rngs: Sequence[np.random.Generator]
    ) -> MixedBatch:
        """Mix a batch.

        Args:
            images: (B, H, W, C), of two rows or more.
            masks: (B, H, W) uint8, or None if each image has one label.
            rngs: the random number generator of each row.
        """
        count, mixes = len(images), list(self.choices.values())
        new_images, new_masks = images.copy(), None if masks is None else masks.copy()
        share = np.ones(count, np.float32)
        for row, rng in enumerate(rngs):
            if rng.random() >= self.p:
                continue
            mix = mixes[rng.integers(len(mixes))]
            rows = [(row + k * count // mix.images) % count for k in range(mix.images)]
            mixed = mix([images[r] for r in rows], None if masks is None else [masks[r] for r in rows], rng)
            new_images[row] = mixed.image
            if new_masks is not None:
                new_masks[row] = mixed.mask
            if new_masks is None or mix.blends_masks:
                share[row] = mixed.share
        return MixedBatch(new_images, new_masks, share, (np.arange(count) + count // 2) % count)
