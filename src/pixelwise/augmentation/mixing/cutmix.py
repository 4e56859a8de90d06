"""CutMix: a rectangle of another image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from pixelwise.augmentation.mixing.mix import Mixed
from pixelwise.checks import checked
from pixelwise.kinds import Positive


@checked
class CutMix:
    """Replace a rectangle by that of another image, at the same place (Yun et al. 2019, "CutMix").

    The rectangle has the proportions of the image, a centre anywhere in it, and ends at its borders. The
    share of its area is 1 - Beta(alpha, alpha) before it is cut at the borders; labels get the final share.

    Args:
        alpha: 1, as in the paper, draws all shares equally often.

    Raises:
        UserError: `alpha` is not above 0.
    """

    images: ClassVar[int] = 2
    needs_masks: ClassVar[bool] = False
    blends_masks: ClassVar[bool] = False

    def __init__(self, alpha: Positive = 1.0) -> None:
        self.alpha = alpha

    def __call__(
        self, images: Sequence[np.ndarray], masks: Sequence[np.ndarray] | None, rng: np.random.Generator
    ) -> Mixed:
        """Mix two images (H, W, C)."""
        extent = np.array(images[0].shape[:2])
        side = np.sqrt(1 - rng.beta(self.alpha, self.alpha)) * extent
        centre = rng.random(2) * extent
        top, left = np.rint(centre - side / 2).clip(0).astype(int)
        bottom, right = np.minimum(np.rint(centre + side / 2), extent).astype(int)
        box = np.s_[top:bottom, left:right]

        def pasted(arrays: Sequence[np.ndarray]) -> np.ndarray:
            result = arrays[0].copy()
            result[box] = arrays[1][box]
            return result

        share = 1 - float((bottom - top) * (right - left) / extent.prod())
        return Mixed(pasted(images), None if masks is None else pasted(masks), share)
