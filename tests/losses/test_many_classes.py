"""More than 255 classes of images: 255 is then a class like any other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pixelwise.data.loader import count_labels
from pixelwise.data.rare import class_order
from pixelwise.data.statistics import Histogram
from pixelwise.losses.soft_targets import blend, takes_soft_targets
from pixelwise.metrics import ClassificationScores
from pixelwise.types import Raw, Split, ignored_label

pytestmark = pytest.mark.fast
CLASSES = 300
IGNORED = ignored_label(CLASSES)


@pytest.fixture
def images() -> tuple[Tensor, Tensor]:
    """Logits (40, 300) and one label each, 255 and the last class among them; the last five are ignored."""
    random = torch.Generator().manual_seed(0)
    target = torch.randint(CLASSES, (40,), generator=random)
    target[:8] = torch.tensor([255, 255, 254, 256, 299, 0, 1, 255])
    target[35:] = IGNORED
    return torch.randn(40, CLASSES, generator=random, dtype=torch.float64), target


def test_the_ignored_label_is_no_class() -> None:
    assert [ignored_label(count) for count in (2, 254, 255, 256, 1000)] == [255, 255, 255, 256, 1000]


def test_losses_ignore_only_the_ignored_label(loss: nn.Module, images: tuple[Tensor, Tensor]) -> None:
    logits, target = images
    value = loss(logits, target)
    assert torch.allclose(value, loss(logits[:35], target[:35]))
    assert not torch.allclose(value, loss(logits[3:], target[3:]))  # without three images of 254 and 255


def test_losses_treat_all_classes_alike(loss: nn.Module, images: tuple[Tensor, Tensor]) -> None:
    """Another numbering of the classes changes nothing."""
    logits, target = images
    order = torch.randperm(CLASSES, generator=torch.Generator().manual_seed(1))
    renamed = torch.cat([order.argsort(), torch.tensor([IGNORED])])[target]
    assert torch.allclose(loss(logits, target), loss(logits[:, order], renamed))


def test_mixed_images_have_shares_of_all_classes(loss: nn.Module, images: tuple[Tensor, Tensor]) -> None:
    logits, target = images
    soft = blend(target, target.roll(1), torch.full((40,), 0.25), CLASSES)
    assert soft[1, 255] == 1
    assert (soft[2, 254], soft[2, 255]) == (0.25, 0.75)
    assert soft[:35].sum(1).tolist() == pytest.approx([255.0 * CLASSES, *[1.0] * 34])
    if takes_soft_targets(loss):
        assert torch.allclose(loss(logits, soft), loss(logits[1:35], soft[1:35]))


def test_scores_count_all_classes(images: tuple[Tensor, Tensor]) -> None:
    logits, target = images
    scores = ClassificationScores([str(index) for index in range(CLASSES)])
    scores.update(logits, target, valid=torch.arange(40) < 30)
    right = logits[:30].argmax(1) == target[:30]
    assert scores.compute()["accuracy"] == right.double().mean()
    assert scores.matrix[255].sum() == (target[:30] == 255).sum()
    assert scores.matrix.sum() == 30


def test_data_count_all_classes(images: tuple[Tensor, Tensor]) -> None:
    labels = images[1][:35].tolist()
    histogram = Histogram([str(index) for index in range(CLASSES)])
    for label in labels:
        histogram.add(label)
    expected = np.bincount(labels, minlength=CLASSES)
    assert (histogram.pixels.tolist(), histogram.ignored) == (expected.tolist(), 0)
    assert count_labels(images[1], CLASSES).tolist() == [*expected, 35]


class Labelled(Split):
    """Images with labels and nothing else."""

    def __init__(self, labels: list[int]) -> None:
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Raw:
        return Raw(np.zeros((1, 1, 3), np.uint8), self.labels[index], str(index))


def test_balanced_order_draws_class_255() -> None:
    order = class_order(Labelled([0] * 60 + [255] * 4), 0, 1.0, 256)
    assert sum(index >= 60 for index in order) == 32
