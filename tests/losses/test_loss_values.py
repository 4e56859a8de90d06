"""Losses against values worked out by hand and against other implementations."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from segmentation_models_pytorch.losses import DiceLoss, FocalLoss
from torch import Tensor, nn

from pixelwise.errors import UserError
from pixelwise.losses import CrossEntropy, Dice, Focal, WeightedSum, region_statistics
from pixelwise.types import IGNORE

pytestmark = pytest.mark.fast
WEIGHTS = [0.5, 1.0, 4.0, 0.0, 2.0]
# Of the picture: I = (5/2, 5/2, 5/4), P = (25/4, 5, 15/4), T = (5, 5, 5).
DICE = 1 - (5 / 11.25 + 5 / 10 + 2.5 / 8.75) / 3
CROSS_ENTROPY = (10 * math.log(2) + 5 * math.log(4)) / 15
FOCAL = (10 * (1 / 2) ** 2 * math.log(2) + 5 * (3 / 4) ** 2 * math.log(4)) / 15


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    """Logits (3, 5, 8, 6) in float64; class 4 is never labelled, some pixels are ignored."""
    random = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(3, 5, 8, 6, generator=random, dtype=torch.float64)
    target = torch.randint(4, (3, 8, 6), generator=random)
    target[:, :2] = IGNORE
    return logits, target


def assert_same(ours: nn.Module, theirs: nn.Module, logits: Tensor, target: Tensor) -> None:
    """The same value and the same gradient."""
    logits = logits.requires_grad_()
    torch.testing.assert_close(ours(logits, target), theirs(logits, target))
    slopes = [torch.autograd.grad(loss(logits, target), logits)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*slopes)


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
def test_hand_computed(loss: nn.Module, value: float, picture: tuple[Tensor, Tensor]) -> None:
    assert loss(*picture).item() == pytest.approx(value, rel=1e-12)


def test_dice_of_absent_classes(picture: tuple[Tensor, Tensor]) -> None:
    logits, target = picture
    target = target.where(target != 2, IGNORE)  # P = (15/4, 15/4, 5/2), T = (5, 5, 0)
    losses = 2 * (1 - 5 / 8.75)
    assert Dice()(logits, target).item() == pytest.approx(losses / 3)
    assert Dice(present_only=True)(logits, target).item() == pytest.approx(losses / 2)


@pytest.mark.parametrize("present_only", [False, True])
def test_dice_per_image_is_the_mean_over_images(batch: tuple[Tensor, Tensor], present_only: bool) -> None:
    logits, target = batch
    target[0, :, :3] = 1
    alone = [Dice(present_only=present_only)(logits[i : i + 1], target[i : i + 1]) for i in range(3)]
    together = Dice(per_image=True, present_only=present_only)(logits, target)
    torch.testing.assert_close(together, torch.stack(alone).mean())


# ----------------------------------------------------------------------------- other implementations


@pytest.mark.parametrize("smooth", [0.0, 1.0])
def test_dice_is_that_of_smp(batch: tuple[Tensor, Tensor], smooth: float) -> None:
    theirs = DiceLoss("multiclass", from_logits=True, ignore_index=IGNORE, smooth=smooth)
    assert_same(Dice(smooth=smooth), theirs, *batch)


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


# ------------------------------------------------------------------------------------------ statistics


def test_statistics_are_those_of_one_hot_volumes(batch: tuple[Tensor, Tensor]) -> None:
    logits, target = batch
    labelled = target != IGNORE
    truth = F.one_hot(target.where(labelled, 0), 5).movedim(-1, 1) * labelled.unsqueeze(1)
    probability = logits.softmax(1) * labelled.unsqueeze(1)
    intersection, mass, count = region_statistics(logits, target)
    torch.testing.assert_close(intersection, (probability * truth).sum((2, 3)))
    torch.testing.assert_close(mass, probability.sum((2, 3)))
    torch.testing.assert_close(count, truth.sum((2, 3)).double())


def test_gradient_of_the_statistics() -> None:
    logits = torch.randn(2, 4, 3, 2, dtype=torch.float64, requires_grad=True)
    target = torch.randint(4, (2, 3, 2))
    target[0, 0] = IGNORE
    assert torch.autograd.gradcheck(lambda logits: region_statistics(logits, target)[:2], logits)


def test_statistics_of_many_pixels_are_exact() -> None:
    """A running float32 sum of a million times 0.99 is wrong in the third digit."""
    logits = torch.zeros(1, 2, 1024, 1024)
    logits[:, 0] = math.log(99)
    intersection, mass, _ = region_statistics(logits, torch.zeros(1, 1024, 1024, dtype=torch.int64))
    assert intersection[0, 0].item() == pytest.approx(0.99 * 2**20, rel=2e-5)
    assert mass[0, 1].item() == pytest.approx(0.01 * 2**20, rel=2e-5)


def test_dice_keeps_the_memory_format_of_its_gradient() -> None:
    logits = torch.randn(2, 6, 8, 8).contiguous(memory_format=torch.channels_last).requires_grad_()
    grad = torch.autograd.grad(Dice()(logits * 1, torch.randint(6, (2, 8, 8))), logits)[0]
    assert grad.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("loss", [CrossEntropy(), Dice(), Focal()])
def test_compiles(loss: nn.Module) -> None:
    torch.compiler.reset()
    assert_same(
        torch.compile(loss, backend="eager"), loss, torch.randn(2, 3, 4, 4), torch.randint(3, (2, 4, 4))
    )


# --------------------------------------------------------------------------- weighted sum and mistakes


def test_terms_are_not_weighted(picture: tuple[Tensor, Tensor]) -> None:
    loss = WeightedSum({"dice": Dice(), "focal": Focal()}, {"dice": 0.0})
    terms = loss.terms(*picture)
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(
        {"dice": DICE, "focal": FOCAL}
    )
    assert loss.total(terms).item() == pytest.approx(FOCAL)
    assert repr(loss).startswith("WeightedSum(\n  0 * dice + 1 * focal")


def test_takes_what_hydra_gives(picture: tuple[Tensor, Tensor]) -> None:
    given = OmegaConf.create({"class_weights": [1, 1, 2], "weights": {"part": 2}})
    loss = WeightedSum({"part": Focal(class_weights=given.class_weights)}, given.weights)
    assert loss(*picture) == 2 * Focal(class_weights=[1, 1, 2])(*picture)


@pytest.mark.parametrize("loss_class", [CrossEntropy, Focal])
def test_each_class_has_its_weight(loss_class: type[CrossEntropy] | type[Focal]) -> None:
    with pytest.raises(UserError, match=r"loss\.class_weights.*\n.*2 weights\n.*3 weights"):
        loss_class(class_weights=[1, 2])(torch.zeros(1, 3), torch.tensor([0]))


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda: CrossEntropy(class_weights=[1, -1]), r"loss\.class_weights"),
        (lambda: CrossEntropy(label_smoothing=1.1), r"loss\.label_smoothing"),
        (lambda: Focal(gamma=-1), r"loss\.gamma"),
        (lambda: Dice(smooth=-1), r"loss\.smooth"),
        (lambda: WeightedSum({}), r"loss\.parts"),
        (lambda: WeightedSum({"dice": Dice()}, {"dise": 1}), r"loss\.weights\.dise.*\n.*\n.*dice"),
        (lambda: WeightedSum({"dice": Dice()}, {"dice": -1}), r"loss\.weights\.dice"),
        (lambda: WeightedSum({"dice": Dice()}, {"dice": math.nan}), r"loss\.weights\.dice"),
    ],
)
def test_mistakes_are_named(mistake: Callable[[], nn.Module], words: str) -> None:
    with pytest.raises(UserError, match=words):
        mistake()
