"""The interface of all ways of mixing images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple, Protocol

import numpy as np


class Mixed(NamedTuple):
    """One mixed image."""

    image: np.ndarray
    """(H, W, C) in the dtype of the images."""
    mask: np.ndarray | None
    """(H, W) label of each pixel; without masks None. If masks are blended, that of the first image."""
    share: float = 1.0
    """Share of the first image in the label of the whole image, or of each pixel if masks are blended."""


class Mix(Protocol):
    """One way of mixing. To add one, write a class with these members and a file in `conf/mixing`."""

    images: ClassVar[int]
    """Number of images that are mixed; the first is the row's own. Labels are those of the first two."""
    needs_masks: ClassVar[bool]
    """Whether it works on masks only, not on images with one label."""
    blends_masks: ClassVar[bool]
    """Whether a pixel shows two images at once, so that its target is soft."""

    def __call__(
        self, images: Sequence[np.ndarray], masks: Sequence[np.ndarray] | None, rng: np.random.Generator
    ) -> Mixed:
        """Mix images and their masks.

        Args:
            images: (H, W, C) each, of one dtype; must not be modified.
            masks: (H, W) uint8 each, with `IGNORE` at ignored pixels, or None; must not be modified.
            rng: the only source of randomness.
        """
        ...
