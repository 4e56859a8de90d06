"""Soft targets: the losses that take them, their normalisation, and targets blended from two."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from tests.helpers import refused
from tests.losses.conftest import NAMES, configured
from torch import Tensor, nn

from pixelwise.data.loader import count_labels
from pixelwise.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    Dice,
    Focal,
    FusedSum,
    Jaccard,
    OverlapLoss,
    Tversky,
    WeightedSum,
    blend,
    takes_soft_targets,
)
from pixelwise.losses.sums import Labels, share_of_step
from pixelwise.types import IGNORE

pytestmark = pytest.mark.fast
WEIGHTS = [0.5, 1.0, 4.0, 0.0, 2.0]
CANNOT = {"lovasz", "ohem_cross_entropy"}


def parts(name: str) -> list[nn.Module]:
    loss = configured(name)
    return list(loss.parts.values()) if isinstance(loss, WeightedSum) else [loss]


SOFT = [name for name in NAMES if all(map(takes_soft_targets, parts(name))) and name != "bce"]


def one_hot(logits: Tensor, target: Tensor) -> Tensor:
    ignored = (target == IGNORE).unsqueeze(1)
    soft = torch.zeros_like(logits).scatter_(1, target.unsqueeze(1).masked_fill(ignored, 0), 1)
    return soft.masked_fill(ignored, IGNORE)


def mixed(shape: tuple[int, ...] = (8, 6), rows: int = 6) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits of five classes, two targets with ignored labels, and shares with a row that is not mixed."""
    random = torch.Generator().manual_seed(1)
    logits = 2 * torch.randn(rows, 5, *shape, generator=random, dtype=torch.float64)
    first, second = (torch.randint(5, (rows, *shape), generator=random) for _ in range(2))
    for target in (first, second):
        target[torch.rand(target.shape, generator=random) < 0.2] = IGNORE
    share = torch.rand(rows, generator=random)
    share[0] = 1
    second[0] = first[0]
    return logits, first, second, share


def test_only_losses_without_a_meaning_for_shares_refuse() -> None:
    refusing = {name for name in NAMES if not all(map(takes_soft_targets, parts(name)))}
    assert refusing == CANNOT | {"ce_lovasz"}
    logits, first, second, share = mixed()
    for name in CANNOT:
        with refused("needs one label"):
            configured(name)(logits, blend(first, second, share, 5))


@pytest.mark.parametrize("name", SOFT)
@pytest.mark.parametrize("shape", [(), (8, 6)], ids=str)
def test_ones_and_zeros_give_the_loss_of_the_index(name: str, shape: tuple[int, ...]) -> None:
    logits, target, _, _ = mixed(shape)
    loss = configured(name)
    grads = []
    for labels in (target, one_hot(logits, target)):
        own = logits.clone().requires_grad_()
        value = loss(own, labels)
        grads.append((value.detach(), *torch.autograd.grad(value, own)))
    torch.testing.assert_close(grads[1], grads[0])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("shape", [(), (8, 6)], ids=str)
def test_cross_entropy_is_that_computed_by_hand(
    smoothing: float, weights: list[float] | None, shape: tuple[int, ...]
) -> None:
    logits, first, second, share = mixed(shape)
    found = CrossEntropy(smoothing, weights)(logits, blend(first, second, share, 5))
    total = weight = 0.0
    by_class = torch.tensor(weights or [1.0] * 5, dtype=torch.float64)
    log_p = logits.log_softmax(1).movedim(1, -1)
    for place in itertools.product(*map(range, first.shape)):
        a, b = int(first[place]), int(second[place])
        if IGNORE in (a, b):
            continue
        q = torch.zeros(5, dtype=torch.float64)
        q[a] += float(share[place[0]])
        q[b] += 1 - float(share[place[0]])
        weight += float((by_class * q).sum())
        q = (1 - smoothing) * q + smoothing / 5
        total -= float((by_class * q * log_p[place]).sum())
    assert float(found) == pytest.approx(total / weight, rel=1e-6)


def test_cross_entropy_is_linear_in_the_labels() -> None:
    logits, first, second, _ = mixed()
    ignored = (first == IGNORE) | (second == IGNORE)
    first, second = (target.masked_fill(ignored, IGNORE) for target in (first, second))
    for loss in (CrossEntropy(), CrossEntropy(0.1), Focal(gamma=2)):
        found = loss(logits, blend(first, second, torch.full((6,), 0.3), 5))
        expected = 0.3 * loss(logits, first) + 0.7 * loss(logits, second)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("loss", [Dice(), Jaccard(), Tversky(), Dice(per_image=True)], ids=str)
def test_the_target_itself_is_the_best_prediction_of_a_region(loss: OverlapLoss) -> None:
    random = torch.Generator().manual_seed(0)
    target = torch.randn(2, 4, 5, 6, generator=random, dtype=torch.float64).softmax(1)
    assert float(loss(target.log(), target)) == pytest.approx(0, abs=1e-12)
    for _ in range(5):
        other = target.log() + torch.randn(target.shape, generator=random, dtype=torch.float64)
        assert loss(other, target) > 0.01


@pytest.mark.parametrize("name", SOFT)
def test_ignored_pixels_count_nowhere(name: str) -> None:
    logits, first, second, share = mixed()
    soft, loss = blend(first, second, share, 5), configured(name)
    ignored = (first == IGNORE) | (second == IGNORE)
    assert (soft == IGNORE).all(1).equal(ignored)
    own = logits.clone().requires_grad_()
    disturbed = own + 100 * torch.randn(5, dtype=torch.float64)[:, None, None] * ignored.unsqueeze(1)
    value = loss(disturbed, soft)
    torch.testing.assert_close(value, loss(logits, soft))
    assert torch.autograd.grad(value, own)[0][ignored.unsqueeze(1).expand_as(logits)].eq(0).all()
    nothing = torch.full_like(soft, IGNORE)
    assert loss(logits, nothing) == 0


@pytest.mark.parametrize("name", SOFT)
def test_gradient_is_the_slope(name: str) -> None:
    logits, first, second, _ = mixed((2, 1), rows=2)
    soft = blend(first.clamp_max(4), second.clamp_max(4), torch.tensor([0.3, 0.6]), 5)
    assert torch.autograd.gradcheck(lambda x: configured(name)(x, soft), logits.requires_grad_())


def test_fused_sum_equals_the_plain_one() -> None:
    logits, first, second, share = mixed()
    both = {"ce": CrossEntropy(class_weights=WEIGHTS), "dice": Dice(), "image": Dice(per_image=True)}
    soft = blend(first, second, share, 5)
    torch.testing.assert_close(FusedSum(both)(logits, soft), WeightedSum(both)(logits, soft))


@pytest.mark.parametrize("shape", [(), (8, 6)], ids=str)
def test_blended_shares_sum_to_one(shape: tuple[int, ...]) -> None:
    _, first, second, share = mixed(shape)
    soft = blend(first.byte() if shape else first, second, share, 5)
    labelled = (soft != IGNORE).all(1)
    torch.testing.assert_close(soft.sum(1)[labelled], torch.ones(int(labelled.sum())))
    torch.testing.assert_close(soft[0], one_hot(torch.zeros(6, 5, *shape), first)[0])


def test_blended_tags_are_numbers_between() -> None:
    first, second = torch.tensor([[1, 0, IGNORE, 1]]), torch.tensor([[0, 0, 1, IGNORE]])
    assert blend(first, second, torch.tensor([0.25]), 4).tolist() == [[0.25, 0, IGNORE, IGNORE]]
    target = torch.tensor([[0.25, 1.0, IGNORE]])
    logits = torch.tensor([[0.3, -1.0, 9.0]])
    expected = F.binary_cross_entropy_with_logits(logits[:, :2], target[:, :2])
    torch.testing.assert_close(BinaryCrossEntropy()(logits, target), expected)


LOSSES = {
    "weighted": CrossEntropy(class_weights=WEIGHTS),
    "smoothed": CrossEntropy(0.1, [0.5, 1.0, 4.0, 0.2, 2.0]),
    "focal": Focal(class_weights=WEIGHTS),
    "dice_per_image": Dice(per_image=True),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shape", [(), (8, 6)], ids=str)
def test_shares_of_a_step_give_its_loss(name: str, shape: tuple[int, ...]) -> None:
    loss, data = LOSSES[name], mixed(shape)
    split = [1, 3, 2]
    batches = list(zip(*(tensor.split(split) for tensor in data), strict=True))
    counts = [count_labels(first, 5, second, share) for _, first, second, share in batches]
    whole = torch.stack(counts).sum(0)
    torch.testing.assert_close(whole, count_labels(data[1], 5, data[2], data[3]))
    step = Labels(whole[:-1], whole[-1])
    found = sum(
        share_of_step(loss, Labels(count[:-1], count[-1]), step) * loss(batch[0], blend(*batch[1:], 5))
        for count, batch in zip(counts, batches, strict=True)
    )
    torch.testing.assert_close(found, loss(data[0], blend(*data[1:], 5)), rtol=1e-5, atol=0)


def test_counted_shares_are_the_sums_of_the_blended_target() -> None:
    _, first, second, share = mixed()
    soft = blend(first, second, share, 5)
    expected = soft.masked_fill(soft == IGNORE, 0).sum((0, 2, 3))
    torch.testing.assert_close(count_labels(first, 5, second, share)[:-1], expected, rtol=1e-5, atol=1e-5)


def test_a_soft_target_of_another_shape_is_refused() -> None:
    with refused("soft target needs a share for each class"):
        CrossEntropy()(torch.zeros(2, 5), torch.zeros(2, 4))
