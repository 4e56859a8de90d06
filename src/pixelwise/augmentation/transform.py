"""The interface of all transforms."""

from __future__ import annotations

from typing import Protocol

import numpy as np

Pair = tuple[np.ndarray, np.ndarray | None]
"""An image (H, W, C) and its index mask (H, W), or None if the target is not a mask."""


class Transform(Protocol):
    """One step of an augmentation. To add one, write a class with this method and name it under `extra`."""

    def __call__(self, image: np.ndarray, mask: np.ndarray | None, rng: np.random.Generator) -> Pair:
        """Transform image and mask together.

        Args:
            image: (H, W, C) uint8, uint16 or float32, with any number of channels; must not be modified.
            mask: (H, W) uint8 index mask, `IGNORE` at ignored pixels, or None; must not be modified.
            rng: the only source of randomness, so that a sample depends on its seed alone.

        Returns:
            The image, in the same dtype, and the mask.
        """
        ...
