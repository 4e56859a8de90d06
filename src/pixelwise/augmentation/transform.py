"""What every transform is called with and returns."""

from __future__ import annotations

from typing import Protocol

import numpy as np

Pair = tuple[np.ndarray, np.ndarray | None]
"""An image (H, W, C) and its index mask (H, W), or None where the target is no mask."""


class Transform(Protocol):
    """One step of an augmentation. A new one is one class of this shape and an entry under `extra`."""

    def __call__(self, image: np.ndarray, mask: np.ndarray | None, rng: np.random.Generator) -> Pair:
        """Transform image and mask together.

        Args:
            image: (H, W, C) uint8, uint16 or float32, with any number of channels; never written to.
            mask: (H, W) uint8 index mask, `IGNORE` where a pixel does not count, or None; never written to.
            rng: the only source of randomness, so that a sample is a function of its seed.

        Returns:
            The image, in its own dtype, and the mask.
        """
        ...
