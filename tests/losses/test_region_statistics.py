"""The four sums that region losses and cross-entropy share."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pixelwise.losses import Dice, region_statistics
from pixelwise.types import IGNORE

pytestmark = pytest.mark.fast


def test_they_are_those_of_one_hot_volumes(batch: tuple[Tensor, Tensor]) -> None:
    logits, target = batch
    labelled = target != IGNORE
    truth = F.one_hot(target.where(labelled, 0), 5).movedim(-1, 1) * labelled.unsqueeze(1)
    probability = logits.softmax(1) * labelled.unsqueeze(1)
    found = region_statistics(logits, target)
    torch.testing.assert_close(found.intersection, (probability * truth).sum((2, 3)))
    torch.testing.assert_close(found.prob_sum, probability.sum((2, 3)))
    torch.testing.assert_close(found.count, truth.sum((2, 3)).double())
    torch.testing.assert_close(found.nll, -(logits.log_softmax(1) * truth).sum((2, 3)))


def test_gradient() -> None:
    logits = torch.randn(2, 4, 3, 2, dtype=torch.float64, requires_grad=True)
    target = torch.randint(4, (2, 3, 2))
    target[0, 0] = IGNORE

    def sums(logits: Tensor) -> tuple[Tensor, ...]:
        found = region_statistics(logits, target)
        return found.intersection, found.prob_sum, found.nll

    assert torch.autograd.gradcheck(sums, logits)


def test_sums_of_many_pixels_are_exact() -> None:
    """A running float32 sum of a million times 0.99 is wrong in the third digit."""
    logits = torch.zeros(1, 2, 1024, 1024)
    logits[:, 0] = math.log(99)
    found = region_statistics(logits, torch.zeros(1, 1024, 1024, dtype=torch.int64))
    assert found.intersection[0, 0].item() == pytest.approx(0.99 * 2**20, rel=2e-5)
    assert found.prob_sum[0, 1].item() == pytest.approx(0.01 * 2**20, rel=2e-5)
    assert found.nll[0, 0].item() == pytest.approx(-math.log(0.99) * 2**20, rel=2e-5)


def test_the_gradient_keeps_its_memory_format() -> None:
    logits = torch.randn(2, 6, 8, 8).contiguous(memory_format=torch.channels_last).requires_grad_()
    grad = torch.autograd.grad(Dice()(logits * 1, torch.randint(6, (2, 8, 8))), logits)[0]
    assert grad.is_contiguous(memory_format=torch.channels_last)
