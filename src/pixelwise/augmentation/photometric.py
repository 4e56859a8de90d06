"""Photometric distortion, the colour changes of SSD and mmsegmentation."""

from __future__ import annotations

from typing import Annotated

import cv2
import numpy as np

from pixelwise.augmentation.transform import Pair
from pixelwise.checks import checked
from pixelwise.kinds import Range, Share
from pixelwise.types import FULL_SCALE


@checked
class PhotometricDistortion:
    """Change brightness, contrast, saturation and hue, each with a probability of its own.

    After Liu et al. 2016, "SSD", data augmentation, as mmsegmentation's `PhotoMetricDistortion`: brightness
    is added first; contrast is a factor on the values, applied before or after saturation and hue; these two
    change in HSV. Values are clipped after each step, for integers. Images that do not have three channels
    get brightness and contrast only.

    Args:
        brightness: the largest change to either side, as a share of the range of the dtype (32 of 255).
        contrast: values are multiplied by a factor from 1 - contrast to 1 + contrast.
        saturation: likewise for the saturation.
        hue: the largest rotation to either side, in turns (18 of 180 degrees of OpenCV).
        p: probability of each of the four changes.

    Raises:
        UserError: an argument is out of its range.
    """

    def __init__(
        self,
        brightness: Share = 32 / 255,
        contrast: Share = 0.5,
        saturation: Share = 0.5,
        hue: Annotated[float, Range(0, 0.5)] = 0.1,
        p: Share = 0.5,
    ) -> None:
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue
        self.p = p

    def __call__(self, image: np.ndarray, mask: np.ndarray | None, rng: np.random.Generator) -> Pair:
        """Change the colours of image (H, W, C); integers are rounded and clipped to their dtype's range."""
        is_changed, shifts = rng.random(4) < self.p, rng.uniform(-1, 1, 4)
        contrast_first = rng.random() < 0.5
        if not is_changed.any():
            return image, mask
        limits = np.array([self.brightness, self.contrast, self.saturation, self.hue])
        brightness, contrast, saturation, hue = (limits * shifts * is_changed).tolist()
        full = FULL_SCALE.get(image.dtype.name)
        values: np.ndarray = image.astype(np.float32)
        values *= 1 / (full or 1.0)

        def clip() -> None:
            if full is not None:
                np.clip(values, 0, 1, out=values)

        values += brightness
        clip()
        if contrast_first:
            values *= 1 + contrast
            clip()
        if image.shape[2] == 3 and (saturation or hue):
            values = _in_hsv(values, 1 + saturation, hue)
        if not contrast_first:
            values *= 1 + contrast
            clip()
        if full is None:
            return values, mask
        values *= full
        return np.rint(values, out=values).astype(image.dtype), mask


def _in_hsv(image: np.ndarray, saturation: float, hue: float) -> np.ndarray:
    """Multiply the saturation of an RGB image (H, W, 3) float32 and rotate its hue by some turns."""
    hsv: np.ndarray = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)  # hue in degrees, saturation from 0 to 1
    hsv[..., 0] += 360 * (hue % 1)
    hsv[..., 0] -= 360 * (hsv[..., 0] >= 360)
    hsv[..., 1] = np.clip(hsv[..., 1] * np.float32(saturation), 0, 1)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
