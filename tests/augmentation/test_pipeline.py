"""The presets of conf/augmentation as Hydra builds them, and the complete augmentation."""

from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from tests.helpers import refused

from pixelwise.augmentation import Augmentation, CenterCrop, Colour, Geometry

pytestmark = pytest.mark.fast

PRESETS = sorted(Path(__file__).parents[2].glob("conf/augmentation/*.yaml"))


WITHOUT_MASKS = ("randaugment", "trivialaugment")
"""Presets of torchvision's policies: for images with one label, of 8 bits and in colour."""


def build(preset: Path, crop_size=64, rescale: bool = False, **overrides) -> Augmentation:
    cfg = OmegaConf.create({"data": {"crop_size": crop_size, "rescale": rescale}})
    cfg.augmentation = OmegaConf.merge(OmegaConf.load(preset), overrides)
    return instantiate(cfg.augmentation)


def sample(height: int, width: int, channels: int = 3, dtype: type = np.uint8):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (height, width, channels)).astype(dtype)
    return image, rng.integers(0, 4, (height, width), dtype=np.uint8)


def preset(name: str) -> Path:
    return next(path for path in PRESETS if path.stem == name)


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 6])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(48, 64), (30, 40), (200, 90)], ids=str)
def test_every_preset_gives_images_of_its_size(path, rescale, channels, dtype, shape):
    assert path.read_text().startswith("# ")
    augmentation = build(path, [48, 64], rescale)
    image, mask = sample(*shape, channels, dtype)
    if path.stem in WITHOUT_MASKS:
        with refused("does not accept masks"):
            augmentation(image, mask, np.random.default_rng(3))
        if channels != 3 or dtype != np.uint8:
            return
        mask = None
    augmented, labels = augmentation(image, mask, np.random.default_rng(3))
    again, _ = augmentation(image, mask, np.random.default_rng(3))
    assert (augmented.shape, augmented.dtype) == ((48, 64, channels), dtype)
    assert augmented.flags.c_contiguous
    np.testing.assert_array_equal(augmented, again)
    if mask is None:
        return
    assert labels.shape == (48, 64)
    assert labels.flags.c_contiguous
    assert set(np.unique(labels)) <= {0, 1, 2, 3, 255}


def test_none_crops_anywhere_in_the_image():
    image = np.arange(96, dtype=np.uint8).reshape(8, 12, 1)
    augmentation = build(preset("none"), [4, 4])
    rng = np.random.default_rng(0)
    values = {int(value) for _ in range(1000) for value in augmentation(image, None, rng)[0].ravel()}
    assert values == set(range(96))


def test_none_with_rescale_is_the_crop_of_evaluation():
    image, mask = sample(100, 150)
    augmented, labels = build(preset("none"), 64, rescale=True)(image, mask, np.random.default_rng(0))
    expected, expected_labels = CenterCrop(64)(image, mask)
    np.testing.assert_array_equal(augmented, expected)
    np.testing.assert_array_equal(labels, expected_labels)


def test_extra_accepts_torchvision_and_null():
    sharpen = {
        "_target_": "pixelwise.augmentation.TorchvisionV2",
        "transform": {
            "_target_": "torchvision.transforms.v2.GaussianBlur",
            "kernel_size": [5, 5],
            "sigma": [0.5, 1.0],
        },
    }
    augmentation = build(preset("strong"), extra={"sharpen": sharpen, "blur": None})
    assert list(augmentation.extra) == ["sharpen"]
    augmented, _ = augmentation(*sample(80, 80), np.random.default_rng(0))
    assert augmented.shape == (64, 64, 3)


def test_a_changed_argument_keeps_the_other_draws():
    image, mask = sample(64, 64)
    plain = Augmentation(64, geometry=Geometry(hflip=0.5), colour=Colour(0.2))
    contrasted = Augmentation(64, geometry=Geometry(hflip=0.5), colour=Colour(0.2, contrast=0.2))
    for seed in range(8):
        _, first = plain(image, mask, np.random.default_rng(seed))
        _, second = contrasted(image, mask, np.random.default_rng(seed))
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    "transform",
    [
        lambda image, mask, rng: (image[:32], mask),
        lambda image, mask, rng: (image.astype(np.float32), mask),
    ],
)
def test_an_extra_that_changes_size_or_dtype_is_named(transform):
    augmentation = Augmentation(64, extra={"odd": transform})
    with refused(r"augmentation\.extra\.odd"):
        augmentation(*sample(64, 64), np.random.default_rng(0))


def test_a_wrong_size_names_its_key():
    with refused(r"Augmentation\.size"):
        Augmentation(size=0)
