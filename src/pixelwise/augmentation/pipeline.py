"""The whole augmentation of a sample, as `conf/augmentation/*.yaml` describes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pixelwise import checks
from pixelwise.augmentation.crop import CenterCrop, RandomCrop
from pixelwise.augmentation.geometry import Geometry
from pixelwise.augmentation.transform import Pair, Transform
from pixelwise.errors import UserError


class Augmentation:
    """A view of a fixed size, then its colour, then whatever else is asked for.

    Args:
        size: side, or [height, width], in pixels of every image that comes out.
        rescale: True resizes images so that they cover `size` first (to classify whole images), False crops
            at their own resolution (to label pixels).
        geometry: the random map the image is seen through. None is a random crop, or, with `rescale`, the
            middle of the image as in evaluation.
        colour: a transform of values such as `Colour`, or None.
        extra: further transforms by name, applied in order; an entry of None is switched off.

    Raises:
        UserError: `size` is no image size.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        rescale: bool = False,
        geometry: Geometry | None = None,
        colour: Transform | None = None,
        extra: Mapping[str, Transform | None] | None = None,
    ) -> None:
        self.size = checks.extent(
            "augmentation.size", size, fix="data.crop_size=512, which presets read it from"
        )
        centred = rescale and geometry is None
        self.view = CenterCrop(self.size) if centred else RandomCrop(self.size, rescale, geometry)
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
            rng: where all randomness comes from.
            focus: (x, y) of a pixel that a random view has to show.

        Returns:
            The image (height, width, C) in its own dtype and the mask (height, width), both contiguous.

        Raises:
            UserError: an extra transform changed the size or the dtype.
        """
        image, mask = self.view(image, mask, rng, focus)
        if self.colour is not None:
            image, mask = self.colour(image, mask, rng)
        for name, transform in self.extra.items():
            before = image
            image, mask = transform(image, mask, rng)
            if image.shape != before.shape or image.dtype != before.dtype:
                raise UserError(
                    f"augmentation.extra.{name} changed what images of a batch share",
                    found=f"{image.dtype} {image.shape}",
                    expected=f"{before.dtype} {before.shape}, as before",
                    fix="zoom and crop with augmentation.geometry and augmentation.size; "
                    "conversion and normalising happen on the device",
                )
        return image, mask
