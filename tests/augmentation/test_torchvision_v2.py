"""The adapter for torchvision's transforms: seeds, fills and alignment."""

import numpy as np
import pytest
import torch
from tests.helpers import refused
from torchvision.transforms import v2

from pixelwise.augmentation import TorchvisionV2
from pixelwise.types import IGNORE

pytestmark = pytest.mark.fast


def scene() -> tuple[np.ndarray, np.ndarray]:
    """Image and mask without any 0, so that every 0 in a result comes from outside the image."""
    mask = np.tile(np.repeat(np.array([1, 2], np.uint8), 16), (48, 2))
    return np.repeat(mask[..., None] * 100, 3, axis=2), mask


MOVING = {
    "rotation": v2.RandomRotation((30, 30)),
    "affine": v2.RandomAffine(20, translate=(0.3, 0.3), scale=(0.5, 0.6), shear=10),
    "perspective": v2.RandomPerspective(0.6, p=1),
    "elastic": v2.ElasticTransform(300.0),
    "padded crop": v2.RandomCrop((48, 64), padding=20),
    "in a container": v2.RandomApply([v2.Compose([v2.RandomRotation((30, 30))])], p=1),
}


@pytest.mark.parametrize("transform", MOVING.values(), ids=MOVING)
def test_masks_are_filled_with_ignore_and_follow_the_image(transform):
    image, mask = scene()
    changed, labels = TorchvisionV2(transform)(image, mask, np.random.default_rng(0))
    assert labels.dtype == np.uint8
    assert set(np.unique(labels)) <= {1, 2, IGNORE}
    assert (labels == IGNORE).any()
    assert (changed[labels == IGNORE] == 0).mean() > 0.8  # except for edges blended by bilinear interpolation
    assert (changed[labels == 2][:, 0] > 100).mean() > 0.9
    assert (changed[labels == 1][:, 0] <= 150).mean() > 0.9


def test_only_the_given_generator_matters():
    image, mask = scene()
    adapter = TorchvisionV2(v2.RandomAffine(90, translate=(0.3, 0.3)))
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = adapter(image, mask, np.random.default_rng(3))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    second = adapter(image, mask, np.random.default_rng(3))
    other = adapter(image, mask, np.random.default_rng(4))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_blur_changes_values_and_keeps_the_mask(channels, dtype):
    image = np.random.default_rng(0).integers(0, 256, (32, 40, channels)).astype(dtype)
    mask = scene()[1][:32, :40]
    changed, labels = TorchvisionV2(v2.GaussianBlur(5))(image, mask, np.random.default_rng(0))
    assert (changed.shape, changed.dtype) == (image.shape, dtype)
    assert changed.flags.c_contiguous
    assert not np.array_equal(changed, image)
    np.testing.assert_array_equal(labels, mask)


def test_without_a_mask():
    image, _ = scene()
    changed, labels = TorchvisionV2(v2.RandAugment(fill=128))(image, None, np.random.default_rng(0))
    assert changed.shape == image.shape
    assert labels is None


@pytest.mark.parametrize("fill", [127, [1, 2, 3], {"others": 9}])
def test_a_fill_that_would_become_a_label_is_refused(fill):
    transform = v2.RandomApply([v2.RandomRotation(30, fill=fill)])
    with refused(r"RandomRotation\.fill"):
        TorchvisionV2(transform)(*scene(), np.random.default_rng(0))
