"""Which pixels are hard."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from tests.helpers import refused
from tests.losses.parity import assert_same
from torch import Tensor

from pixelwise.losses import CrossEntropy, OHEMCrossEntropy
from pixelwise.types import IGNORE

pytestmark = pytest.mark.fast
WEIGHTS = [0.5, 1.0, 4.0, 0.0, 2.0]


@pytest.mark.parametrize("class_weights", [None, WEIGHTS])
@pytest.mark.parametrize(("threshold", "min_share"), [(0.7, 0.0), (0.0, 0.1), (0.02, 0.5), (0.9, 0.1)])
def test_is_the_mean_over_the_hard_pixels(
    batch: tuple[Tensor, Tensor], threshold: float, min_share: float, class_weights: list[float] | None
) -> None:
    def naive(logits: Tensor, target: Tensor) -> Tensor:
        labelled = target != IGNORE
        truth, logits = target[labelled], logits.movedim(1, -1)[labelled]
        losses = F.cross_entropy(logits, truth, reduction="none")
        hard = losses.argsort(descending=True)
        count = max(math.ceil(min_share * len(hard)), int((losses > -math.log(threshold or 1e-99)).sum()))
        weights = torch.tensor(class_weights or [1.0] * 5).double()[truth[hard[:count]]]
        return (weights * losses[hard[:count]]).sum() / weights.sum()

    assert_same(OHEMCrossEntropy(threshold, min_share, class_weights), naive, *batch)


def test_all_pixels_are_cross_entropy(batch: tuple[Tensor, Tensor]) -> None:
    assert_same(OHEMCrossEntropy(0.0, 1.0, WEIGHTS), CrossEntropy(class_weights=WEIGHTS), *batch)


def test_equally_hard_pixels_are_treated_alike(image: tuple[Tensor, Tensor]) -> None:
    """A fifth of the image's 15 pixels: 5 are hardest, of which a strict count would take 3."""
    assert OHEMCrossEntropy(0.0, 0.2)(*image).item() == pytest.approx(math.log(4))


@pytest.mark.parametrize("option", ["threshold", "min_share"])
def test_mistakes_are_named(option: str) -> None:
    with refused(rf"OHEMCrossEntropy\.{option}"):
        OHEMCrossEntropy(**{option: 1.5})
