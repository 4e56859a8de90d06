"""MixUp: the average of two images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import cv2
import numpy as np

from pixelwise.augmentation.mixing.mix import Mixed
from pixelwise.checks import checked
from pixelwise.kinds import Positive


@checked
class MixUp:
    """Average two images and their labels (Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization").

    The share of the first image is drawn from Beta(alpha, alpha). Pixels that are ignored in either mask are
    ignored.

    Args:
        alpha: 1 draws all shares equally often; below 1, shares near 0 and 1 are more frequent.

    Raises:
        UserError: `alpha` is not above 0.
    """

    images: ClassVar[int] = 2
    needs_masks: ClassVar[bool] = False
    blends_masks: ClassVar[bool] = True

    def __init__(self, alpha: Positive = 0.2) -> None:
        self.alpha = alpha

    def __call__(
        self, images: Sequence[np.ndarray], masks: Sequence[np.ndarray] | None, rng: np.random.Generator
    ) -> Mixed:
        """Mix two images (H, W, C); integers are rounded."""
        share = float(rng.beta(self.alpha, self.alpha))
        first, second = (image.reshape(len(image), -1) for image in images)  # any number of channels
        mixed = cv2.addWeighted(first, share, second, 1 - share, 0).reshape(images[0].shape)
        return Mixed(mixed, None if masks is None else masks[0], share)
