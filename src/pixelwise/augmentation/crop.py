"""Which window of an image is seen: anywhere in it to train, all or the middle of it to evaluate."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from pixelwise import checks
from pixelwise.augmentation import warp
from pixelwise.augmentation.geometry import Geometry
from pixelwise.augmentation.transform import Pair


class RandomCrop:
    """A window of a fixed size at a random place, seen through a random `Geometry`.

    Every place at which the window lies inside of the image is equally likely. Where the image is too short
    or too narrow for that, the window is centred; the mask is `IGNORE` where it looks beyond the edge.

    Args:
        size: side, or [height, width], of the window in pixels.
        rescale: True first resizes the image so that it just covers the window (to classify whole images);
            False crops at the image's own resolution (to label pixels).
        geometry: the random map; None for a plain crop.

    Raises:
        UserError: `size` is no image size.
    """

    def __init__(
        self, size: int | Sequence[int], rescale: bool = False, geometry: Geometry | None = None
    ) -> None:
        self.size = checks.extent(
            "augmentation.size", size, fix="data.crop_size=512, which presets read it from"
        )
        self.rescale = rescale
        self.geometry = geometry or Geometry()

    def __call__(
        self,
        image: np.ndarray,
        mask: np.ndarray | None,
        rng: np.random.Generator,
        focus: tuple[int, int] | None = None,
    ) -> Pair:
        """See the window: image (H, W, C) and mask (H, W) in, (height, width, …) of `size` out.

        With a `focus` (x, y) only those places are drawn at which the window shows that pixel.
        """
        linear = self.geometry.draw(rng)
        if self.rescale:
            linear = linear * _cover(image, self.size)
        centre = self._place(image, linear, rng, focus)
        return warp.look(image, mask, linear, centre, self.size)

    def _place(
        self,
        image: np.ndarray,
        linear: np.ndarray,
        rng: np.random.Generator,
        focus: tuple[int, int] | None = None,
    ) -> np.ndarray:
        """Draw the point (x, y) of the image that the middle of the window shows."""
        extent = np.array(image.shape[1::-1])
        box = warp.footprint(linear, self.size)
        reach = np.maximum(extent - box, 2 * self.geometry.translate * box)
        low = (extent - box - reach) / 2
        chance = rng.random(2)
        if focus is not None:  # the pixel's middle comes to a random place in the window, half a pixel inside
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


class CenterCrop:
    """The view for evaluation, the same every time: an image as it is, or its middle at a fixed size.

    Args:
        size: None leaves every image its own size (to label pixels). A side, or [height, width], resizes the
            image so that it just covers that size and keeps the middle (to classify whole images).

    Raises:
        UserError: `size` is no image size.
    """

    def __init__(self, size: int | Sequence[int] | None = None) -> None:
        self.size = None if size is None else checks.extent("size of the centre view", size)

    def __call__(
        self,
        image: np.ndarray,
        mask: np.ndarray | None = None,
        rng: np.random.Generator | None = None,
        focus: tuple[int, int] | None = None,
    ) -> Pair:
        """See the middle of image (H, W, C) and mask (H, W), whatever `rng` and `focus` say."""
        if self.size is None:
            return image, mask
        zoom = _cover(image, self.size)
        height, width = (round(side * zoom) for side in image.shape[:2])
        if zoom != 1:
            image = warp.resize(image, (height, width))
        if zoom != 1 and mask is not None:
            mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)

        top, left = (height - self.size[0]) // 2, (width - self.size[1]) // 2
        middle = np.s_[top : top + self.size[0], left : left + self.size[1]]
        return image[middle].copy(), None if mask is None else mask[middle].copy()


def _cover(image: np.ndarray, size: tuple[int, int]) -> float:
    """The zoom at which an image (H, W, C) just covers a window of `size` = (height, width)."""
    return max(size[0] / image.shape[0], size[1] / image.shape[1])
