"""The Lovász-Softmax loss against SMP's, and against its definition."""

from __future__ import annotations

import pytest
import torch
from segmentation_models_pytorch.losses import LovaszLoss
from tests.losses.parity import assert_same
from torch import Tensor

from pixelwise.losses import Lovasz
from pixelwise.losses.lovasz import lovasz_grad
from pixelwise.types import IGNORE

pytestmark = pytest.mark.fast


def grown(errors: Tensor, truth: Tensor) -> Tensor:
    """By how much 1 - IoU grows with each further wrong pixel, from the worst to the best."""
    wrong, losses = torch.zeros_like(truth), [0.0]
    for pixel in errors.argsort(descending=True):
        wrong[pixel] = True
        losses.append(1 - ((truth & ~wrong).sum().double() / (truth | wrong).sum()).item())
    return torch.tensor(losses, dtype=torch.float64).diff()


@pytest.mark.parametrize("per_image", [False, True])
def test_as_in_smp(batch: tuple[Tensor, Tensor], per_image: bool) -> None:
    """SMP's is in float32 whatever it is given."""
    theirs = LovaszLoss("multiclass", per_image, ignore_index=IGNORE)
    assert_same(Lovasz(per_image), theirs, batch[0].float(), batch[1])


def test_is_the_formula(batch: tuple[Tensor, Tensor]) -> None:
    def naive(logits: Tensor, target: Tensor) -> Tensor:
        probability, target = logits.softmax(1).movedim(1, -1)[target != IGNORE], target[target != IGNORE]
        losses = []
        for label in range(4):  # of five, the last of which is never labelled
            errors = ((target == label).double() - probability[:, label]).abs()
            losses.append(errors.sort(descending=True).values @ grown(errors, target == label))
        return torch.stack(losses).mean()

    assert_same(Lovasz(), naive, *batch)


def test_certain_predictions_have_one_minus_iou(batch: tuple[Tensor, Tensor]) -> None:
    logits, target = batch
    labelled, predicted = target != IGNORE, logits.argmax(1)
    losses = []
    for label in range(4):
        found, truth = (predicted == label) & labelled, target == label
        losses.append(1 - (found & truth).sum() / (found | truth).sum())
    assert Lovasz()(1e4 * logits, target).item() == pytest.approx(torch.stack(losses).mean().item())
    weights = torch.tensor([1.0, 0.0, 2.0, 1.0, 9.0])
    weighted = (weights[:4] * torch.stack(losses)).sum() / 4
    loss = Lovasz(class_weights=weights.tolist())(1e4 * logits, target)
    assert loss.item() == pytest.approx(weighted.item())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_slopes_are_what_one_minus_iou_grows_by(dtype: torch.dtype) -> None:
    errors, truth = torch.rand(40, dtype=dtype), torch.arange(40) % 3 == 0
    grad = lovasz_grad(errors, truth)[errors.argsort(descending=True)]
    torch.testing.assert_close(grad, grown(errors, truth).to(dtype))


def test_slopes_of_many_pixels_are_exact() -> None:
    """Differences of 1 - IoU near 1 would be multiples of 6e-8."""
    errors = torch.linspace(1, 0, 2**20)
    grad = lovasz_grad(errors, torch.arange(2**20) < 1000)
    assert grad[999].item() == pytest.approx(1 / 1000, rel=1e-6)
    grad = lovasz_grad(errors, torch.arange(2**20) >= 2**20 - 1000)
    assert grad[-1001].item() == pytest.approx(1000 / 2**20 / (2**20 - 1), rel=1e-6)
