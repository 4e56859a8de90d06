"""Crops: a random one for training; the full image or its centre for evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from operator import gt

import cv2
import numpy as np

from pixelwise.augmentation import warp
from pixelwise.augmentation.geometry import Geometry
from pixelwise.augmentation.transform import Pair
from pixelwise.checks import checked
from pixelwise.errors import UserError
from pixelwise.kinds import Share, Size, sides
from pixelwise.protocols import EvaluationProtocol
from pixelwise.types import IGNORE, NODATA

TRIES = 10
"""How often a crop with too much of one class is drawn again, as in mmsegmentation."""


@checked
class RandomCrop:
    """Crop an image and its mask at a random position, transformed by a random `Geometry`.

    All positions with the crop inside the image are equally likely. Along an axis where the image is smaller
    than the crop, the crop is centred. Outside the image, the image is mirrored and the mask is `IGNORE`.

    Args:
        size: side, or [height, width], of the crop in pixels.
        rescale: True first resizes the image so that it just covers the crop (for image classification);
            False crops at the image's own resolution (for segmentation).
        geometry: the random linear map; None for a crop without it.
        max_class_share: draw the position again, up to `TRIES` times, while one class has this share of the
            labelled pixels or more: `cat_max_ratio` of mmsegmentation. 1 takes the first position.

    Raises:
        UserError: `size` is not an image size, or the share is out of range.
    """

    def __init__(
        self,
        size: Size,
        rescale: bool = False,
        geometry: Geometry | None = None,
        max_class_share: Share = 1.0,
    ) -> None:
        self.size = sides(size)
        self.rescale = rescale
        self.geometry = geometry or Geometry()
        self.max_class_share = max_class_share

    def __call__(
        self,
        image: np.ndarray,
        mask: np.ndarray | None,
        rng: np.random.Generator,
        focus: tuple[int, int] | None = None,
    ) -> Pair:
        """Crop image (H, W, C) and mask (H, W) to `size`.

        If `focus` is given, only positions are drawn at which the crop contains this pixel (x, y).
        """
        linear = self.geometry.draw(rng)
        if self.rescale:
            linear = linear * _cover(image, self.size)
        centre = self._draw_centre(image, linear, rng, focus)
        if mask is not None and self.max_class_share < 1:
            for _ in range(TRIES):
                if class_share(warp.crop_mask(mask, linear, centre, self.size)) < self.max_class_share:
                    break
                centre = self._draw_centre(image, linear, rng, focus)
        return warp.crop_and_warp(image, mask, linear, centre, self.size)

    def _draw_centre(
        self,
        image: np.ndarray,
        linear: np.ndarray,
        rng: np.random.Generator,
        focus: tuple[int, int] | None = None,
    ) -> np.ndarray:
        """Draw the point (x, y) of the image that becomes the centre of the crop."""
        extent = np.array(image.shape[1::-1])
        box = warp.footprint(linear, self.size)
        reach = np.maximum(extent - box, 2 * self.geometry.translate * box)
        low = (extent - box - reach) / 2
        chance = rng.random(2)
        if focus is not None:  # the centre of the focus pixel gets a random position in the crop
            inside = (chance - 0.5) * (np.array(self.size[::-1]) - 1)
            corner = np.array(focus) + 0.5 - np.linalg.inv(linear) @ inside - box / 2
            chance = ((corner - low) / np.maximum(reach, 1e-9)).clip(0, 1)
            if warp.moves_whole_pixels(linear):
                return np.rint(low + chance * reach).clip(np.ceil(low), np.floor(low + reach)) + box / 2
        if warp.moves_whole_pixels(linear):
            low, high = np.ceil(low), np.floor(low + reach)
            corner = low + np.floor(chance * (high - low + 1))
        else:
            corner = low + chance * reach
        return corner + box / 2


@checked
class CenterCrop:
    """The crop for evaluation, without randomness: the full image, or its centre at a fixed size.

    Args:
        size: None keeps the full image (for segmentation). A side, or [height, width], crops the centre (for
            image classification) of the image, which is first resized by `protocol` or, without that, so that
            it just covers this size.
        protocol: how images are resized; None does not. The mask of a full image keeps its size.

    Raises:
        UserError: `size` is not an image size, or an image would be resized to less than it.
    """

    def __init__(self, size: Size | None = None, protocol: EvaluationProtocol | None = None) -> None:
        self.size = None if size is None else sides(size)
        self.protocol = protocol or EvaluationProtocol()
        resize = self.protocol.resize
        smallest = sides(resize) if isinstance(resize, int | Sequence) else (0, 0)
        if self.size is not None and resize is not None and any(map(gt, self.size, smallest)):
            raise UserError(
                "data.eval.resize: the centre of data.eval_size is cropped from the resized image",
                found=resize,
                expected=f"at least {max(self.size)}, the shorter side, or [height, width] of at least that",
                fix="data.eval.resize=null, which covers the crop",
            )

    def __call__(
        self,
        image: np.ndarray,
        mask: np.ndarray | None = None,
        rng: np.random.Generator | None = None,
        focus: tuple[int, int] | None = None,
    ) -> Pair:
        """Crop the centre of image (H, W, C) and mask (H, W); `rng` and `focus` are not used."""
        height, width = self.protocol.size(image.shape[:2])
        if self.size is not None and self.protocol.resize is None:
            zoom = _cover(image, self.size)
            height, width = (round(side * zoom) for side in image.shape[:2])
        if changed := (height, width) != image.shape[:2]:
            image = warp.resize(image, (height, width))
        if self.size is None:
            return image, mask
        if changed and mask is not None:
            mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)

        top, left = (height - self.size[0]) // 2, (width - self.size[1]) // 2
        middle = np.s_[top : top + self.size[0], left : left + self.size[1]]
        return image[middle].copy(), None if mask is None else mask[middle].copy()


def class_share(mask: np.ndarray) -> float:
    """Return the share of the most frequent class in the labelled pixels; 1 if none is labelled."""
    counts = np.bincount(mask.ravel(), minlength=IGNORE + 1)
    counts[[NODATA, IGNORE]] = 0
    return counts.max() / counts.sum() if counts.any() else 1.0


def _cover(image: np.ndarray, size: tuple[int, int]) -> float:
    """Return the zoom at which an image (H, W, C) just covers a crop of `size` = (height, width)."""
    return max(size[0] / image.shape[0], size[1] / image.shape[1])
