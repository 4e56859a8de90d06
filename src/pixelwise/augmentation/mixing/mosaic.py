"""Mosaic: four images around a point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from pixelwise.augmentation.mixing.mix import Mixed


class Mosaic:
    """Four images around a random point, one in each quadrant (Bochkovskiy et al. 2020, "YOLOv4").

    The point is in the middle half of the image, along both axes. A quadrant shows its image at the same
    place and size as before, while YOLO moves the corner of each image to the point: so the sky stays above
    the road, and zoom and crop are left to the augmentation.
    """

    images: ClassVar[int] = 4
    needs_masks: ClassVar[bool] = True
    blends_masks: ClassVar[bool] = False

    def __call__(
        self, images: Sequence[np.ndarray], masks: Sequence[np.ndarray] | None, rng: np.random.Generator
    ) -> Mixed:
        """Mix four images (H, W, C) with masks."""
        assert masks is not None
        height, width = masks[0].shape
        row, column = np.rint(rng.uniform(0.25, 0.75, 2) * (height, width)).astype(int)
        above, below, left, right = np.s_[:row], np.s_[row:], np.s_[:column], np.s_[column:]
        quadrants = [(above, left), (above, right), (below, left), (below, right)]
        image, mask = images[0].copy(), masks[0].copy()
        for source, quadrant in zip(rng.permutation(4), quadrants, strict=True):
            image[quadrant], mask[quadrant] = images[source][quadrant], masks[source][quadrant]
        return Mixed(image, mask)
