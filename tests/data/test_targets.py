import numpy as np
import pytest
from tests.helpers import refused

from pixelwise.augmentation import Augmentation
from pixelwise.data.loader import Samples
from pixelwise.data.samplers import SampleIndex
from pixelwise.data.targets import PresentClasses
from pixelwise.types import IGNORE, Raw, Split

pytestmark = pytest.mark.fast

CLASSES = ["a", "b", "c"]


def test_a_class_needs_its_share_of_the_labelled_pixels():
    mask = np.zeros((20, 20), np.uint8)
    mask[:10] = IGNORE
    mask[19, :2] = 1  # 1 % of the 200 labelled pixels
    mask[19, 2] = 2
    assert PresentClasses(CLASSES)(mask).tolist() == [1, 1, 0]
    assert PresentClasses(CLASSES, share=0)(mask).tolist() == [1, 1, 1]
    assert PresentClasses(CLASSES, share=0.5)(mask).tolist() == [1, 0, 0]


def test_images_without_labels_are_ignored():
    assert PresentClasses(CLASSES)(np.full((4, 4), IGNORE, np.uint8)).tolist() == [IGNORE] * 3


def test_targets_are_computed_from_the_crop():
    mask = np.zeros((8, 8), np.uint8)
    mask[:, 4:] = 1
    raw = Raw(np.zeros((8, 8, 3), np.uint8), mask, "k", border=np.zeros((8, 8), bool))

    class One(Split):
        def __getitem__(self, index):
            return raw

    samples = Samples(One(), [Augmentation(4)], seed=0, encode=PresentClasses(CLASSES), training=True)
    found = [samples[SampleIndex(0, 0, 0)]["target"].tolist()]
    found += [samples[SampleIndex(0, epoch, 0)]["target"].tolist() for epoch in range(40)]
    assert [1, 0, 0] in found
    assert [0, 1, 0] in found
    assert [1, 1, 0] in found
    assert "border" not in samples[SampleIndex(0, 0, 0)]


def test_a_wrong_share_is_refused():
    with refused(r"PresentClasses\.share"):
        PresentClasses(CLASSES, share=2)
