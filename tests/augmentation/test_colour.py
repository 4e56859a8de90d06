"""Colour compared with torchvision's functions, and properties of colour and blur."""

import numpy as np
import pytest
import torch
from tests.helpers import refused
from torchvision.transforms.v2 import functional as F

from pixelwise.augmentation import Blur, Colour
from pixelwise.augmentation.colour import LUMA, colour_matrix

pytestmark = pytest.mark.fast


def mild_photograph() -> np.ndarray:
    """Smooth colours far from black and white, so that torchvision's clipping between steps has no effect."""
    rows, columns = np.mgrid[0:60, 0:80]
    return np.stack([70 + rows, 60 + columns, 180 - rows], axis=-1).astype(np.uint8)


def apply(image: np.ndarray, **factors: float) -> np.ndarray:
    neutral = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}
    matrix = colour_matrix(image.mean(axis=(0, 1)), **(neutral | factors))
    return np.clip(np.rint(image @ matrix[:, :-1].T + matrix[:, -1]), 0, 255)


@pytest.mark.parametrize("factor", [0.6, 0.9, 1.2])
@pytest.mark.parametrize("kind", ["brightness", "contrast", "saturation"])
def test_factors_have_the_same_effect_as_in_torchvision(kind, factor):
    image = mild_photograph()
    adjust = getattr(F, f"adjust_{kind}")
    expected = adjust(torch.from_numpy(image).permute(2, 0, 1), factor).permute(1, 2, 0).numpy()
    assert np.abs(apply(image, **{kind: factor}) - expected).max() <= 2


def test_combined_steps_equal_torchvisions_sequence():
    image = mild_photograph()
    expected = torch.from_numpy(image).permute(2, 0, 1)
    for adjust, factor in ((F.adjust_brightness, 1.1), (F.adjust_contrast, 0.8), (F.adjust_saturation, 1.3)):
        expected = adjust(expected, factor)
    ours = apply(image, brightness=1.1, contrast=0.8, saturation=1.3)
    assert np.abs(ours - expected.permute(1, 2, 0).numpy()).max() <= 3


def test_hue_keeps_luma_and_greys_and_turns_red_to_green():
    image = mild_photograph().astype(np.float64)
    matrix = colour_matrix(image.mean(axis=(0, 1)), 1, 1, 1, hue=1 / 3)
    np.testing.assert_allclose(image @ matrix[:, :-1].T @ LUMA, image @ LUMA)
    np.testing.assert_allclose(matrix[:, :-1] @ np.ones(3), np.ones(3))
    assert np.argmax(matrix[:, :-1] @ [1, 0, 0]) == 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6, 13])
@pytest.mark.parametrize("transform", [Colour(0.4, 0.4, 0.4, 0.1), Blur(p=1)], ids=["colour", "blur"])
def test_every_dtype_and_number_of_channels(transform, channels, dtype):
    top = {np.uint8: 255, np.uint16: 65535, np.float32: 1}[dtype]
    image = (np.random.default_rng(0).random((40, 50, channels)) * top).astype(dtype)
    before = image.copy()
    mask = np.zeros((40, 50), np.uint8)
    changed, labels = transform(image, mask, np.random.default_rng(1))
    assert (changed.shape, changed.dtype) == (image.shape, dtype)
    assert labels is mask
    assert not np.array_equal(changed, image)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [3, 5])
def test_integers_are_rounded_and_clipped_not_wrapped(dtype, channels):
    top = np.iinfo(dtype).max
    image = np.random.default_rng(0).integers(0, top + 1, (40, 50, channels), dtype=dtype)
    colour = Colour(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.1)
    for seed in range(10):
        changed, _ = colour(image, None, np.random.default_rng(seed))
        exact, _ = colour(image.astype(np.float32), None, np.random.default_rng(seed))
        assert np.abs(changed - np.clip(exact, 0, top)).max() <= 1  # for uint8 OpenCV rounds the matrix too


def test_contrast_of_two_channels_uses_their_own_means():
    image = np.stack([np.full((8, 8), 10.0), np.full((8, 8), 900.0)], axis=-1).astype(np.float32)
    changed, _ = Colour(contrast=1, saturation=1, hue=0.5)(image, None, np.random.default_rng(0))
    np.testing.assert_allclose(changed, image, rtol=1e-5)


@pytest.mark.parametrize("transform", [Colour(0.5, p=0.3), Blur(p=0.3)], ids=["colour", "blur"])
def test_p_is_the_probability_of_a_change(transform):
    image, rng = mild_photograph(), np.random.default_rng(0)
    changed = [transform(image, None, rng)[0] is not image for _ in range(400)]
    assert 0.22 < np.mean(changed) < 0.38


def test_blur_keeps_the_mean_and_spreads_a_point():
    image = np.zeros((41, 41, 1), np.float32)
    image[20, 20] = 1
    blurred, _ = Blur(sigma=(2, 2), p=1)(image, None, np.random.default_rng(0))
    rows = np.arange(41) - 20
    assert blurred.sum() == pytest.approx(1, abs=1e-3)
    assert np.sqrt((blurred[..., 0].sum(1) * rows**2).sum()) == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: Colour(brightness=1.5), r"Colour\.brightness"),
        (lambda: Colour(contrast=-0.1), r"Colour\.contrast"),
        (lambda: Colour(saturation=None), r"Colour\.saturation"),
        (lambda: Colour(hue=0.6), r"Colour\.hue"),
        (lambda: Colour(p=2), r"Colour\.p"),
        (lambda: Blur(sigma=(2, 1)), r"Blur\.sigma"),
    ],
)
def test_a_wrong_argument_names_its_key(make, key):
    with refused(key):
        make()
