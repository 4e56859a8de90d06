"""Photometric distortion compared with mmsegmentation's steps, and its properties."""

import cv2
import numpy as np
import pytest
from tests.helpers import refused

from pixelwise.augmentation import PhotometricDistortion

pytestmark = pytest.mark.fast


class Fixed:
    """A generator that applies every step with given shifts."""

    def __init__(self, shifts, contrast_first, applied=(0, 0, 0, 0)):
        self.shifts, self.applied, self.coin = (
            np.array(shifts, float),
            np.array(applied, float),
            contrast_first,
        )

    def random(self, count=None):
        return self.applied if count else (0.0 if self.coin else 1.0)

    def uniform(self, low, high, count):
        return self.shifts


def steps_of_mmsegmentation(image, delta, contrast, saturation, hue, contrast_first):
    """The steps on 8-bit images, each rounded: `convert` and OpenCV's HSV, whose hue is degrees / 2."""

    def convert(img, alpha=1.0, beta=0.0):
        return np.clip(img.astype(np.float32) * alpha + beta, 0, 255).astype(np.uint8)

    image = convert(image, beta=delta)
    if contrast_first:
        image = convert(image, alpha=contrast)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv[..., 1] = convert(hsv[..., 1], alpha=saturation)
    hsv[..., 0] = (hsv[..., 0].astype(int) + hue) % 180
    image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    return image if contrast_first else convert(image, alpha=contrast)


def photograph() -> np.ndarray:
    rows, columns = np.mgrid[0:60, 0:80]
    return np.stack([70 + rows, 60 + 2 * columns, 200 - 2 * rows], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("contrast_first", [True, False])
@pytest.mark.parametrize("shifts", [(0.5, 0.5, 0.5, 0.5), (-1, -0.5, 1, -1), (1, 1, -1, 0.25), (0, 0, 0, 1)])
def test_steps_are_those_of_mmsegmentation(shifts, contrast_first):
    image = photograph()
    b, c, s, h = shifts
    expected = steps_of_mmsegmentation(image, 32 * b, 1 + 0.5 * c, 1 + 0.5 * s, round(18 * h), contrast_first)
    found, _ = PhotometricDistortion()(image, None, Fixed(shifts, contrast_first))
    assert (
        np.abs(found.astype(int) - expected).max() <= 9
    )  # its hue has steps of 2 degrees, and each is rounded
    assert np.abs(found.astype(int) - expected).mean() < 2


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
def test_every_dtype_and_number_of_channels(channels, dtype):
    top = {np.uint8: 255, np.uint16: 65535, np.float32: 1}[dtype]
    image = (np.random.default_rng(0).random((40, 50, channels)) * top).astype(dtype)
    before, mask = image.copy(), np.zeros((40, 50), np.uint8)
    changed, labels = PhotometricDistortion(p=1)(image, mask, np.random.default_rng(1))
    assert (changed.shape, changed.dtype) == (image.shape, dtype)
    assert labels is mask
    assert not np.array_equal(changed, image)
    np.testing.assert_array_equal(image, before)


def test_sixteen_bits_change_as_eight_bits_do():
    image = photograph()
    for seed in range(8):
        eight, _ = PhotometricDistortion()(image, None, np.random.default_rng(seed))
        sixteen, _ = PhotometricDistortion()(image.astype(np.uint16) * 257, None, np.random.default_rng(seed))
        assert np.abs(sixteen / 257 - eight).max() <= 1


def test_integers_are_clipped_not_wrapped():
    white, black = np.full((8, 8, 3), 250, np.uint8), np.full((8, 8, 3), 5, np.uint8)
    assert PhotometricDistortion(p=1)(white, None, Fixed((1, 1, 0, 0), True))[0].min() == 255
    assert PhotometricDistortion(p=1)(black, None, Fixed((-1, 0, 0, 0), True))[0].max() == 0


def test_each_change_has_its_own_probability():
    image, rng = photograph(), np.random.default_rng(0)
    unchanged = [PhotometricDistortion(p=0.5)(image, None, rng)[0] is image for _ in range(1000)]
    assert np.mean(unchanged) == pytest.approx(1 / 16, abs=0.03)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue", "p"])
def test_a_wrong_argument_names_its_key(name):
    with refused(rf"PhotometricDistortion\.{name}"):
        PhotometricDistortion(**{name: -0.1})
