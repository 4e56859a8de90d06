"""The complete augmentation of a sample, as configured by `conf/augmentation/*.yaml`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pixelwise.augmentation.crop import CenterCrop, RandomCrop
from pixelwise.augmentation.geometry import Geometry
from pixelwise.augmentation.transform import Pair, Transform
from pixelwise.checks import checked
from pixelwise.errors import UserError
from pixelwise.kinds import Share, Size, sides


@checked
class Augmentation:
    """Crop to a fixed size, then change the colours, then apply further transforms.

    Args:
        size: side, or [height, width], of the augmented images in pixels.
        rescale: True first resizes images so that they just cover `size` (for image classification), False
            crops at their own resolution (for segmentation).
        geometry: the random linear map. None gives a random crop or, with `rescale`, the centre crop of
            evaluation.
        colour: a transform of pixel values such as `Colour`, or None.
        extra: further transforms by name, applied in this order; None switches an entry off.
        max_class_share: see `RandomCrop`; 1 for images without a mask.

    Raises:
        UserError: `size` is not an image size, or the share is out of range.
    """

    def __init__(
        self,
        size: Size,
        rescale: bool = False,
        geometry: Geometry | None = None,
        colour: Transform | None = None,
        extra: Mapping[str, Transform | None] | None = None,
        max_class_share: Share = 1.0,
    ) -> None:
        self.size = sides(size)
        centred = rescale and geometry is None
        random = RandomCrop(self.size, rescale, geometry, max_class_share)
        self.crop = CenterCrop(self.size) if centred else random
        self.colour = colour
        self.extra = {name: transform for name, transform in (extra or {}).items() if transform is not None}

    def __call__(
        self,
        image: np.ndarray,
        mask: np.ndarray | None,
        rng: np.random.Generator,
        focus: tuple[int, int] | None = None,
    ) -> Pair:
        """Augment one sample.

        Args:
            image: (H, W, C) uint8, uint16 or float32, of any size and number of channels.
            mask: (H, W) uint8 index mask, or None.
            rng: the only source of randomness.
            focus: (x, y) of a pixel that a random crop has to contain.

        Returns:
            The image (height, width, C) in its own dtype and the mask (height, width), both contiguous.

        Raises:
            UserError: a transform of `extra` changed the size or the dtype.
        """
        image, mask = self.crop(image, mask, rng, focus)
        if self.colour is not None:
            image, mask = self.colour(image, mask, rng)
        for name, transform in self.extra.items():
            before = image
            image, mask = transform(image, mask, rng)
            if image.shape != before.shape or image.dtype != before.dtype:
                raise UserError(
                    f"augmentation.extra.{name} changed the shape or dtype of the image",
                    found=f"{image.dtype} {image.shape}",
                    expected=f"{before.dtype} {before.shape}, as in all images of a batch",
                    fix="zoom and crop with augmentation.geometry and augmentation.size; "
                    "the model converts and normalises on the device",
                )
        return image, mask
