"""A fused sum is the plain sum of the same parts."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import refused
from tests.losses.parity import assert_same
from torch import Tensor, nn

from pixelwise.losses import MCC, CrossEntropy, Dice, Focal, FusedSum, GeneralizedDice, Jaccard, WeightedSum

pytestmark = pytest.mark.fast
WEIGHTS = [0.5, 1.0, 4.0, 0.0, 2.0]
PARTS = [
    {"cross_entropy": CrossEntropy(), "dice": Dice()},
    {"cross_entropy": CrossEntropy(class_weights=WEIGHTS), "jaccard": Jaccard(True, True, 1.0, WEIGHTS)},
    {"cross_entropy": CrossEntropy(), "generalized_dice": GeneralizedDice(), "mcc": MCC()},
    {"cross_entropy": CrossEntropy()},
]


@pytest.mark.parametrize("parts", PARTS, ids="+".join)
@pytest.mark.parametrize("spatial", [True, False])
@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_is_the_plain_sum(
    batch: tuple[Tensor, Tensor], parts: dict[str, nn.Module], spatial: bool, scale: float
) -> None:
    logits, target = batch if spatial else (batch[0][:, :, 3, 3], batch[1][:, 3, 3])
    weights = {"cross_entropy": 0.3}
    fused, plain = FusedSum(parts, weights), WeightedSum(parts, weights)
    assert_same(fused, plain, scale * logits, target)
    terms = fused.terms(logits, target)
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(
        {name: term.item() for name, term in plain.terms(logits, target).items()}
    )


@pytest.mark.parametrize("part", [Focal(), CrossEntropy(label_smoothing=0.1)])
def test_parts_that_see_more_are_refused(part: nn.Module) -> None:
    with refused(r"loss\.parts\.other[\s\S]*loss\._target_=pixelwise\.losses\.WeightedSum"):
        FusedSum({"dice": Dice(), "other": part})


def test_gradient_of_half_precision() -> None:
    logits = torch.randn(2, 4, 5, 6).bfloat16().requires_grad_()
    loss = FusedSum(PARTS[0])(logits, torch.randint(4, (2, 5, 6)))
    assert loss.dtype == torch.float32
    assert torch.autograd.grad(loss, logits)[0].dtype == torch.bfloat16
