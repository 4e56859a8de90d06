"""Losses against values worked out by hand and against other implementations."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from omegaconf import OmegaConf
from segmentation_models_pytorch.losses import FocalLoss
from tests.helpers import refused
from tests.losses.parity import assert_same
from torch import Tensor, nn

from pixelwise.losses import CrossEntropy, Dice, Focal, Lovasz, OHEMCrossEntropy, WeightedSum
from pixelwise.types import IGNORE

pytestmark = pytest.mark.fast
WEIGHTS = [0.5, 1.0, 4.0, 0.0, 2.0]
# Of the image: I = (5/2, 5/2, 5/4), P = (25/4, 5, 15/4), T = (5, 5, 5).
DICE = 1 - (5 / 11.25 + 5 / 10 + 2.5 / 8.75) / 3
CROSS_ENTROPY = (10 * math.log(2) + 5 * math.log(4)) / 15
FOCAL = (10 * (1 / 2) ** 2 * math.log(2) + 5 * (3 / 4) ** 2 * math.log(4)) / 15


# ---------------------------------------------------------------------------------------------- by hand


@pytest.mark.parametrize(
    ("loss", "value"),
    [
        (CrossEntropy(), CROSS_ENTROPY),
        (CrossEntropy(class_weights=[1, 1, 2]), (10 * math.log(2) + 2 * 5 * math.log(4)) / 20),
        (Dice(), DICE),
        (Dice(smooth=5), 1 - (7.5 / 10.625 + 7.5 / 10 + 6.25 / 9.375) / 3),
        (Focal(), FOCAL),
        (Focal(gamma=1), (10 * (1 / 2) * math.log(2) + 5 * (3 / 4) * math.log(4)) / 15),
        (WeightedSum({"a": CrossEntropy(), "b": Dice()}, {"b": 3}), CROSS_ENTROPY + 3 * DICE),
    ],
)
def test_hand_computed(loss: nn.Module, value: float, image: tuple[Tensor, Tensor]) -> None:
    assert loss(*image).item() == pytest.approx(value, rel=1e-12)


# ----------------------------------------------------------------------------- other implementations


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("class_weights", [None, WEIGHTS])
@pytest.mark.parametrize("spatial", [True, False])
def test_cross_entropy_is_that_of_pytorch(
    batch: tuple[Tensor, Tensor], label_smoothing: float, class_weights: list[float] | None, spatial: bool
) -> None:
    weight = None if class_weights is None else torch.tensor(class_weights).double()
    theirs = nn.CrossEntropyLoss(weight, ignore_index=IGNORE, label_smoothing=label_smoothing)
    logits, target = batch if spatial else (batch[0][:, :, 3, 3], batch[1][:, 3, 3])
    assert_same(CrossEntropy(label_smoothing, class_weights), theirs, logits, target)


@pytest.mark.parametrize("class_weights", [None, WEIGHTS])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_is_the_formula(
    batch: tuple[Tensor, Tensor], gamma: float, class_weights: list[float] | None
) -> None:
    def naive(logits: Tensor, target: Tensor) -> Tensor:
        labelled = target != IGNORE
        probability = logits.softmax(1).movedim(1, -1)[labelled]
        truth = target[labelled]
        p_t = probability[torch.arange(len(truth)), truth]
        alpha = torch.tensor(class_weights or [1.0] * 5).double()[truth]
        return (-alpha * (1 - p_t) ** gamma * p_t.log()).sum() / alpha.sum()

    assert_same(Focal(gamma, class_weights), naive, *batch)


def test_focal_without_focus_is_cross_entropy(batch: tuple[Tensor, Tensor]) -> None:
    assert_same(Focal(0.0, WEIGHTS), CrossEntropy(class_weights=WEIGHTS), *batch)


def test_focal_of_two_classes_is_that_of_smp(batch: tuple[Tensor, Tensor]) -> None:
    """SMP's focal loss is a sigmoid's, as the paper's: the same where the classes are two."""
    logits, target = batch[0][:, :2], batch[1].where(batch[1] == IGNORE, batch[1] % 2)
    binary = FocalLoss("binary", gamma=2.0, ignore_index=IGNORE)
    assert_same(
        Focal(2.0), lambda logits, target: binary(logits[:, 1] - logits[:, 0], target), logits, target
    )


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_has_a_slope_where_it_is_certain(gamma: float) -> None:
    logits = torch.tensor([[1e4, 0.0]], requires_grad=True)
    Focal(gamma)(logits, torch.tensor([0])).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


# ----------------------------------------------------------------------------------------- compilation


@pytest.mark.parametrize("loss", [CrossEntropy(), Dice(), Focal()])
def test_compiles(loss: nn.Module) -> None:
    torch.compiler.reset()
    assert_same(
        torch.compile(loss, backend="eager"), loss, torch.randn(2, 3, 4, 4), torch.randint(3, (2, 4, 4))
    )


# --------------------------------------------------------------------------- weighted sum and mistakes


def test_terms_are_not_weighted(image: tuple[Tensor, Tensor]) -> None:
    loss = WeightedSum({"dice": Dice(), "focal": Focal()}, {"dice": 0.0})
    terms = loss.terms(*image)
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(
        {"dice": DICE, "focal": FOCAL}
    )
    assert loss.total(terms).item() == pytest.approx(FOCAL)
    assert repr(loss).startswith("WeightedSum(\n  0 * dice + 1 * focal")


def test_takes_what_hydra_gives(image: tuple[Tensor, Tensor]) -> None:
    given = OmegaConf.create({"class_weights": [1, 1, 2], "weights": {"part": 2}})
    loss = WeightedSum({"part": Focal(class_weights=given.class_weights)}, given.weights)
    assert loss(*image) == 2 * Focal(class_weights=[1, 1, 2])(*image)


@pytest.mark.parametrize("loss", [CrossEntropy(), Focal(), OHEMCrossEntropy(), Lovasz(), Dice()])
def test_several_labels_at_once_are_another_task(loss: nn.Module) -> None:
    with refused(r"one label.*\n.*\(4, 3\) for logits \(4, 3\)\n.*loss=bce"):
        loss(torch.zeros(4, 3), torch.zeros(4, 3, dtype=torch.long))


@pytest.mark.parametrize("loss_class", [CrossEntropy, Focal])
def test_each_class_has_its_weight(loss_class: type[CrossEntropy] | type[Focal]) -> None:
    with refused(r"loss\.class_weights.*\n.*2 weights\n.*3 weights"):
        loss_class(class_weights=[1, 2])(torch.zeros(1, 3), torch.tensor([0]))


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda: CrossEntropy(class_weights=[1, -1]), r"CrossEntropy\.class_weights"),
        (lambda: CrossEntropy(label_smoothing=1.1), r"CrossEntropy\.label_smoothing"),
        (lambda: Focal(gamma=-1), r"Focal\.gamma"),
        (lambda: WeightedSum({}), r"loss\.parts"),
        (lambda: WeightedSum({"dice": Dice()}, {"dise": 1}), r"loss\.weights\.dise.*\n.*\n.*dice"),
        (lambda: WeightedSum({"dice": Dice()}, {"dice": -1}), r"WeightedSum\.weights\.dice"),
        (lambda: WeightedSum({"dice": Dice()}, {"dice": math.nan}), r"WeightedSum\.weights\.dice"),
    ],
)
def test_mistakes_are_named(mistake: Callable[[], nn.Module], words: str) -> None:
    with refused(words):
        mistake()
