"""Region losses against SMP 0.6, and against the papers' formulas where SMP has none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from segmentation_models_pytorch.losses import DiceLoss, JaccardLoss, MCCLoss, TverskyLoss
from tests.helpers import refused
from tests.losses.parity import assert_same
from torch import Tensor

from pixelwise.losses import MCC, Dice, FocalTversky, GeneralizedDice, Jaccard, OverlapLoss, Tversky
from pixelwise.types import IGNORE

pytestmark = pytest.mark.fast
WEIGHTS = [0.5, 1.0, 4.0, 0.0, 2.0]
OVERLAPS = [Dice, Jaccard, Tversky, FocalTversky, MCC]
SMP: dict[str, Any] = {"mode": "multiclass", "ignore_index": IGNORE}


def regions(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Probability and truth (K, N) of the labelled pixels."""
    labelled = target != IGNORE
    probability = logits.softmax(1).movedim(1, -1)[labelled].T
    truth = torch.stack([target[labelled] == label for label in range(logits.shape[1])])
    return probability, truth.to(logits.dtype)


# ------------------------------------------------------------------------------------------ parity


@pytest.mark.parametrize("class_weights", [None, WEIGHTS])
@pytest.mark.parametrize("smooth", [0.0, 1.0])
@pytest.mark.parametrize(
    ("ours", "theirs", "costs"),
    [
        (Dice, DiceLoss, {}),
        (Jaccard, JaccardLoss, {}),
        (Tversky, TverskyLoss, {"alpha": 0.2, "beta": 0.9}),
    ],
)
def test_as_in_smp(
    batch: tuple[Tensor, Tensor],
    ours: type[OverlapLoss],
    theirs: Callable[..., Any],
    costs: dict[str, float],
    smooth: float,
    class_weights: list[float] | None,
) -> None:
    options = {"smooth": smooth, "class_weights": class_weights, **costs}
    assert_same(ours(**options), theirs(**SMP, **options), *batch)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 4 / 3])
def test_focal_tversky_is_the_formula(batch: tuple[Tensor, Tensor], gamma: float) -> None:
    def naive(logits: Tensor, target: Tensor) -> Tensor:
        p, g = regions(logits, target)
        true, missed, alarms = (p * g).sum(1), ((1 - p) * g).sum(1), (p * (1 - g)).sum(1)
        tversky = true / (true + 0.6 * missed + 0.3 * alarms)
        return ((1 - tversky) ** (1 / gamma))[g.any(1)].mean()

    assert_same(FocalTversky(alpha=0.3, beta=0.6, gamma=gamma, present_only=True), naive, *batch)


def test_mcc_is_the_formula(batch: tuple[Tensor, Tensor]) -> None:
    def naive(logits: Tensor, target: Tensor) -> Tensor:
        p, g = regions(logits, target)
        p, g = p[g.any(1)], g[g.any(1)]
        tp, tn, fp, fn = ((a * b).sum(1) for a, b in ((p, g), (1 - p, 1 - g), (p, 1 - g), (1 - p, g)))
        mcc = (tp * tn - fp * fn) / ((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)).sqrt()
        return (1 - mcc).mean()

    assert_same(MCC(present_only=True), naive, *batch)


def test_mcc_of_two_classes_is_that_of_smp(batch: tuple[Tensor, Tensor]) -> None:
    logits, target = batch[0][:, :2], batch[1].where(batch[1] == IGNORE, batch[1] % 2)

    def theirs(logits: Tensor, target: Tensor) -> Tensor:
        labelled = target != IGNORE
        return MCCLoss(eps=0.0)(logits.softmax(1)[:, 1][labelled][None], target[labelled][None])

    assert_same(MCC(), theirs, logits, target)


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_generalized_dice_is_the_formula(batch: tuple[Tensor, Tensor], power: float) -> None:
    def naive(logits: Tensor, target: Tensor) -> Tensor:
        p, r = regions(logits, target)
        p, r = p[r.any(1)], r[r.any(1)]
        weights = 1 / r.sum(1) ** power
        return 1 - 2 * (weights * (r * p).sum(1)).sum() / (weights * (r + p).sum(1)).sum()

    assert_same(GeneralizedDice(power=power), naive, *batch)


def test_they_agree_where_they_should(batch: tuple[Tensor, Tensor]) -> None:
    assert_same(Tversky(alpha=0.5, beta=0.5), Dice(), *batch)
    assert_same(Tversky(alpha=1, beta=1), Jaccard(), *batch)
    assert_same(FocalTversky(gamma=1), Tversky(), *batch)


# ----------------------------------------------------------------------------------------- options


def test_dice_of_absent_classes(image: tuple[Tensor, Tensor]) -> None:
    logits, target = image
    target = target.where(target != 2, IGNORE)  # P = (15/4, 15/4, 5/2), T = (5, 5, 0)
    loss = 1 - 5 / 8.75  # of both
    assert Dice()(logits, target).item() == pytest.approx(2 * loss / 3)
    assert Dice(present_only=True)(logits, target).item() == pytest.approx(loss)
    weights = [1.0, 2.0, 7.0]
    assert Dice(class_weights=weights)(logits, target).item() == pytest.approx(3 * loss / 10)
    assert Dice(class_weights=weights, present_only=True)(logits, target).item() == pytest.approx(loss)


@pytest.mark.parametrize("present_only", [False, True])
@pytest.mark.parametrize("overlap", OVERLAPS)
def test_per_image_is_the_mean_over_images(
    batch: tuple[Tensor, Tensor], overlap: type[OverlapLoss], present_only: bool
) -> None:
    logits, target = batch
    target[0, :, :3] = 1
    alone = overlap(present_only=present_only)
    losses = [alone(logits[i : i + 1], target[i : i + 1]) for i in range(3)]
    together = overlap(per_image=True, present_only=present_only)(logits, target)
    torch.testing.assert_close(together, torch.stack(losses).mean())


def test_generalized_dice_per_image(batch: tuple[Tensor, Tensor]) -> None:
    logits, target = batch
    target[1] = IGNORE
    losses = [GeneralizedDice()(logits[i : i + 1], target[i : i + 1]) for i in (0, 2)]
    torch.testing.assert_close(GeneralizedDice(per_image=True)(logits, target), torch.stack(losses).mean())


def test_generalized_dice_of_a_speck_in_a_large_picture() -> None:
    """1 / T^2 would be 1e-11 here, beside a clamp that must not bite."""
    logits, target = torch.zeros(1, 3, 600, 600), torch.zeros(1, 600, 600, dtype=torch.int64)
    logits[:, 1] = 1e4
    assert GeneralizedDice()(logits, target).item() == 1
    target[0, 0, 0] = 1
    assert GeneralizedDice()(logits, target).item() == pytest.approx(1 - 2 / (1 + 360_000), abs=1e-6)


def test_a_class_that_fills_the_picture_has_no_correlation() -> None:
    logits, target = torch.randn(2, 3, 4, 4, requires_grad=True), torch.ones(2, 4, 4, dtype=torch.int64)
    loss = MCC()(logits, target)
    assert loss == 0
    assert torch.autograd.grad(loss, logits)[0].eq(0).all()


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("certainty", [14.0, 18.0, 30.0])
def test_mcc_of_a_speck_in_a_large_picture(certainty: float, classes: int) -> None:
    """Of the class around it float32 holds neither the covariance nor the deviation, but of the speck."""
    logits, target = torch.zeros(4, classes, 512, 512), torch.zeros(4, 512, 512, dtype=torch.int64)
    logits[:, 0] = certainty
    target[0, 0, :3] = 1
    exact, found = (one.requires_grad_() for one in (logits.double(), logits))
    grad = []
    for one in (exact, found):
        loss = MCC()(one, target)
        assert 0 <= loss.item() <= 2
        grad.append(torch.autograd.grad(loss, one)[0].double())
    if classes == 2:
        assert loss.item() == pytest.approx(MCC()(exact, target).item(), abs=1e-5)
        torch.testing.assert_close(grad[1], grad[0], rtol=1e-3, atol=0)
    assert grad[1].abs().max() < 2 * grad[0].abs().max()


@pytest.mark.parametrize("gamma", [0.5, 1.0, 4 / 3])
def test_focal_tversky_has_a_slope_where_it_is_certain(gamma: float) -> None:
    logits = torch.tensor([[1e4, 0.0], [0.0, 1e4]], requires_grad=True)
    FocalTversky(gamma=gamma)(logits, torch.tensor([0, 1])).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda: Dice(smooth=-1), r"Dice\.smooth"),
        (lambda: Tversky(alpha=-1), r"Tversky\.alpha"),
        (lambda: Tversky(beta=-1), r"Tversky\.beta"),
        (lambda: FocalTversky(gamma=0), r"FocalTversky\.gamma"),
        (lambda: GeneralizedDice(power=-1), r"GeneralizedDice\.power"),
    ],
)
def test_mistakes_are_named(mistake: Callable[[], Any], words: str) -> None:
    with refused(words):
        mistake()
