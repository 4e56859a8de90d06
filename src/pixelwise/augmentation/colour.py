"""Transforms that change pixel values only; the mask is returned unchanged."""

from __future__ import annotations

from typing import Annotated

import cv2
import numpy as np

from pixelwise.augmentation.transform import Pair
from pixelwise.checks import checked
from pixelwise.kinds import Interval, Range, Share

LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in the luma (ITU-R BT.601)."""

RGB_TO_YIQ = np.array([LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
"""RGB → luma and the two chrominance axes of the NTSC standard; for grey, I and Q are 0."""


@checked
class Colour:
    """Change brightness, contrast, saturation and hue at random, by one matrix that is applied once.

    The steps are those of torchvision's `ColorJitter`, always in this order and rounded only at the end. Hue
    is a rotation about the grey axis, which keeps the luma. For images that do not have three channels, only
    brightness and contrast change; contrast then uses the mean of each channel.

    Args:
        brightness: values are multiplied by a factor from 1 - brightness to 1 + brightness.
        contrast: distances from the mean are multiplied by a factor from 1 - contrast to 1 + contrast.
        saturation: distances from grey are multiplied by a factor from 1 - saturation to 1 + saturation.
        hue: the largest rotation of hue to either side, in turns; 0.5 reaches every hue.
        p: probability that the transform is applied.

    Raises:
        UserError: an argument is out of its range.
    """

    def __init__(
        self,
        brightness: Share = 0.0,
        contrast: Share = 0.0,
        saturation: Share = 0.0,
        hue: Annotated[float, Range(0, 0.5)] = 0.0,
        p: Share = 1.0,
    ) -> None:
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue
        self.p = p

    def __call__(self, image: np.ndarray, mask: np.ndarray | None, rng: np.random.Generator) -> Pair:
        """Change the colours of image (H, W, C); integers are rounded and clipped to their dtype's range."""
        limits = np.array([self.brightness, self.contrast, self.saturation, self.hue])
        chance, *shifts = rng.random(5)
        if chance >= self.p:
            return image, mask
        brightness, contrast, saturation, hue = [1, 1, 1, 0] + limits * (2 * np.array(shifts) - 1)
        matrix = colour_matrix(_channel_means(image), brightness, contrast, saturation, hue)
        return cv2.transform(image, matrix).reshape(image.shape), mask


@checked
class Blur:
    """Blur the image with a Gaussian at random.

    Args:
        sigma: [low, high] of the standard deviation in pixels.
        p: probability that the image is blurred.

    Raises:
        UserError: an argument is out of its range.
    """

    def __init__(self, sigma: Interval = (0.5, 1.5), p: Share = 0.5) -> None:
        self.sigma = sigma
        self.p = p

    def __call__(self, image: np.ndarray, mask: np.ndarray | None, rng: np.random.Generator) -> Pair:
        """Blur image (H, W, C)."""
        chance, sigma = rng.random(), rng.uniform(self.sigma[0], self.sigma[1])
        if chance >= self.p:
            return image, mask
        side = 2 * int(np.ceil(3 * sigma)) + 1  # ± 3 sigma hold 99.7 % of the Gaussian
        return cv2.GaussianBlur(image, (side, side), sigma).reshape(image.shape), mask


def colour_matrix(
    means: np.ndarray, brightness: float, contrast: float, saturation: float, hue: float
) -> np.ndarray:
    """Return one matrix for brightness, contrast, saturation and hue.

    With factors b and c, contrast after brightness is c·b·x + (1 - c)·b·mean. For three channels the mean is
    that of the luma, a grey. Saturation and hue do not change greys, so they multiply the first term only.

    Args:
        means: (C,) mean of each channel.
        brightness: factor.
        contrast: factor.
        saturation: factor; used only if C = 3.
        hue: rotation in turns; used only if C = 3.

    Returns:
        (C, C + 1): the linear part, and the offset in the last column.
    """
    channels = len(means)
    linear, pivot = np.eye(channels), means
    if channels == 3:
        linear = _hue_rotation(hue) @ _saturation(saturation)
        pivot = np.full(3, LUMA @ means)
    return np.column_stack([contrast * brightness * linear, (1 - contrast) * brightness * pivot])


def _saturation(factor: float) -> np.ndarray:
    """Return the (3, 3) matrix that scales the distance of colours from the grey of equal luma."""
    return factor * np.eye(3) + (1 - factor) * np.tile(LUMA, (3, 1))


def _hue_rotation(turns: float) -> np.ndarray:
    """Return the (3, 3) matrix that rotates colours in the I-Q plane, from red to green; luma is kept."""
    cos, sin = np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)
    rotation = np.array([[1, 0, 0], [0, cos, sin], [0, -sin, cos]])
    return np.linalg.inv(RGB_TO_YIQ) @ rotation @ RGB_TO_YIQ


def _channel_means(image: np.ndarray) -> np.ndarray:
    """Return the (C,) mean of each channel of an image (H, W, C)."""
    channels = image.shape[2]
    # OpenCV accepts up to four channels; it takes a hundredth of NumPy's time.
    fours = [cv2.mean(image[..., first : first + 4]) for first in range(0, channels, 4)]
    return np.concatenate(fours)[:channels]
