"""Convert an index mask to labels of the whole image, for `task=tagging`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pixelwise.checks import checked
from pixelwise.kinds import Share
from pixelwise.types import IGNORE


@checked
class PresentClasses:
    """Marks the classes that cover at least a given share of an image.

    Args:
        classes: names of the K classes.
        share: minimum share of the labelled pixels.
    """

    def __init__(self, classes: Sequence[str], share: Share = 0.01) -> None:
        self.count = len(classes)
        self.share = share

    def __call__(self, mask: np.ndarray) -> np.ndarray:
        """(H, W) uint8 with `IGNORE` → (K,) float32: 1 present, 0 absent; all `IGNORE` without a label."""
        pixels = np.bincount(mask.ravel(), minlength=IGNORE + 1)[: self.count]
        if not (labelled := pixels.sum()):
            return np.full(self.count, IGNORE, np.float32)
        return ((pixels > 0) & (pixels >= self.share * labelled)).astype(np.float32)
