"""Several labels at once."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import refused
from tests.losses.parity import assert_same
from torch import Tensor, nn

from pixelwise.losses import BinaryCrossEntropy
from pixelwise.types import IGNORE

pytestmark = pytest.mark.fast
WEIGHTS = [0.5, 1.0, 4.0, 0.0, 2.0]


@pytest.fixture(params=[(), (3, 2)], ids=["labels", "pixels"])
def tags(request: pytest.FixtureRequest) -> tuple[Tensor, Tensor]:
    """Logits and a target of 0, 1 and some `IGNORE`, (6, 5[, 3, 2])."""
    random = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(6, 5, *request.param, generator=random, dtype=torch.float64)
    target = torch.randint(2, logits.shape, generator=random)
    target[torch.rand(logits.shape, generator=random) < 0.3] = IGNORE
    return logits, target.double()


@pytest.mark.parametrize("class_weights", [None, WEIGHTS])
@pytest.mark.parametrize("positive_weights", [None, [1.0, 2.0, 0.0, 7.0, 1.0]])
def test_is_the_formula(
    tags: tuple[Tensor, Tensor], class_weights: list[float] | None, positive_weights: list[float] | None
) -> None:
    def naive(logits: Tensor, target: Tensor) -> Tensor:
        total, counted = torch.zeros((), dtype=torch.float64), 0.0
        for label in range(5):
            weight = (class_weights or [1.0] * 5)[label]
            positive = (positive_weights or [1.0] * 5)[label]
            labelled = target[:, label] != IGNORE
            p, t = logits[:, label][labelled].sigmoid(), target[:, label][labelled]
            total = total - weight * (positive * t * p.log() + (1 - t) * (1 - p).log()).sum()
            counted += weight * float(labelled.sum())
        return total / counted

    assert_same(BinaryCrossEntropy(class_weights, positive_weights), naive, *tags)


def test_is_that_of_pytorch(tags: tuple[Tensor, Tensor]) -> None:
    logits, target = tags
    assert_same(BinaryCrossEntropy(), nn.BCEWithLogitsLoss(), logits, target.clamp_max(1))


def test_the_target_may_be_of_any_number_type(tags: tuple[Tensor, Tensor]) -> None:
    logits, target = tags
    assert BinaryCrossEntropy()(logits, target.long()) == BinaryCrossEntropy()(logits, target)
    assert BinaryCrossEntropy()(logits, target.to(torch.uint8)) == BinaryCrossEntropy()(logits, target)


def test_one_label_is_one_class_against_all_others(batch: tuple[Tensor, Tensor]) -> None:
    logits, target = batch
    ignored = (target == IGNORE).unsqueeze(1)
    tags = torch.zeros_like(logits).scatter_(1, target.unsqueeze(1).masked_fill(ignored, 0), 1)
    loss = BinaryCrossEntropy(positive_weights=WEIGHTS)
    assert_same(loss, lambda logits, _: loss(logits, tags.masked_fill(ignored, IGNORE)), logits, target)
    with refused(r"loss\.class_weights[\s\S]*positive_weights"):
        BinaryCrossEntropy(WEIGHTS)(logits, target)
    with refused(r"for every class[\s\S]*\(4, 2\)"):
        BinaryCrossEntropy()(torch.zeros(4, 3), torch.zeros(4, 2))


@pytest.mark.parametrize("option", ["class_weights", "positive_weights"])
def test_each_class_has_its_weight(option: str) -> None:
    loss = BinaryCrossEntropy(**{option: [1, 2]})
    with refused(rf"loss\.{option}.*\n.*2 weights\n.*3 weights"):
        loss(torch.zeros(1, 3), torch.zeros(1, 3))
    with refused(rf"BinaryCrossEntropy\.{option}"):
        BinaryCrossEntropy(**{option: [-1]})
