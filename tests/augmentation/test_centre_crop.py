"""Centre crops: the view of evaluation."""

import numpy as np
import pytest
from tests.augmentation.scenes import PALETTE, interior, labelled_scene

from pixelwise.augmentation import CenterCrop
from pixelwise.protocols import EvaluationProtocol

pytestmark = pytest.mark.fast


def test_a_centre_crop_without_size_is_the_image():
    image, mask = labelled_scene(41, 67)
    cropped, labels = CenterCrop()(image, mask)
    assert cropped is image
    assert labels is mask


@pytest.mark.parametrize("shape", [(100, 160), (160, 100), (64, 64), (30, 200), (63, 65)])
@pytest.mark.parametrize("size", [64, (48, 80)])
def test_a_centre_crop_keeps_the_middle_of_the_image(shape, size):
    image, mask = labelled_scene(*shape)
    cropped, labels = CenterCrop(size)(image, mask)
    expected = (64, 64) if size == 64 else size
    assert cropped.shape == (*expected, 3)
    assert labels.shape == expected
    inside = interior(labels, radius=4)
    assert np.abs(cropped[inside].astype(int) - PALETTE[labels[inside]]).max(initial=0) <= 1
    again, _ = CenterCrop(size)(image, mask, np.random.default_rng(1))
    np.testing.assert_array_equal(cropped, again)


@pytest.mark.parametrize("shape", [(100, 160), (160, 100), (30, 200)])
@pytest.mark.parametrize(("size", "resize", "resized"), [(56, 64, None), ((48, 80), [64, 96], (64, 96))])
def test_a_centre_crop_of_a_resized_image_is_its_middle(shape, size, resize, resized):
    """Shorter side 64 for a crop of 56 is `crop_pct=0.875` of timm."""
    image, mask = labelled_scene(*shape)
    cropped, labels = CenterCrop(size, EvaluationProtocol(resize))(image, mask)
    expected = resized or tuple(int(side * 64 / min(shape) + 0.5) for side in shape)
    height, width = (size, size) if isinstance(size, int) else size
    assert cropped.shape == (height, width, 3)
    top, left = ((side - crop) // 2 for side, crop in zip(expected, (height, width), strict=True))
    whole, unchanged = CenterCrop(None, EvaluationProtocol(resize))(image, mask)
    assert whole.shape[:2] == expected
    assert unchanged is mask
    np.testing.assert_array_equal(cropped, whole[top : top + height, left : left + width])
    inside = interior(labels, radius=4)
    assert np.abs(cropped[inside].astype(int) - PALETTE[labels[inside]]).max(initial=0) <= 1
