"""What holds for every loss that conf/loss offers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pixelwise.types import IGNORE

pytestmark = pytest.mark.fast
SHAPES = [(), (1, 1), (3, 4), (7, 2)]
few = settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@st.composite
def batches(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Logits (B, K) or (B, K, H, W) in float64 and a target of which about a quarter is ignored."""
    batch, classes = draw(st.integers(1, 3)), draw(st.integers(2, 6))
    shape = draw(st.sampled_from(SHAPES))
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    scale = draw(st.sampled_from([0.1, 1.0, 10.0]))
    logits = scale * torch.randn(batch, classes, *shape, generator=random, dtype=torch.float64)
    target = torch.randint(classes, (batch, *shape), generator=random)
    ignored = torch.rand(target.shape, generator=random) < 0.25
    return logits, target.where(~ignored, IGNORE)


def gradient(loss: nn.Module, logits: Tensor, target: Tensor) -> Tensor:
    logits = logits.detach().requires_grad_()
    loss(logits, target).backward()
    assert logits.grad is not None
    return logits.grad


@few
@given(batch=batches())
def test_is_a_scalar_that_is_never_negative(loss: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
    value = loss(*batch)
    assert value.shape == ()
    assert value.dtype == torch.float64
    assert value >= -1e-12


@few
@given(batch=batches())
def test_perfect_prediction_is_the_minimum(loss: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
    """Perfect is the label itself, or with label smoothing the smoothed one, whose entropy is left."""
    logits, target = batch
    labelled, smoothing = target != IGNORE, getattr(loss, "label_smoothing", 0.0)
    label = torch.zeros_like(logits).scatter_(1, target.where(labelled, 0).unsqueeze(1), 1.0)
    label = (1 - smoothing) * label + smoothing / logits.shape[1]
    least = -torch.xlogy(label, label).sum(1)[labelled].sum() / labelled.sum().clamp_min(1)
    perfect = label.log().clamp_min(-100) + 50
    assert loss(perfect, target) <= loss(logits, target) + 1e-12
    assert loss(perfect, target) == pytest.approx(float(least), abs=1e-9)


@few
@given(batch=batches(), data=st.data())
def test_classes_may_be_renumbered(
    loss: nn.Module, batch: tuple[Tensor, Tensor], data: st.DataObject
) -> None:
    logits, target = batch
    order = torch.tensor(data.draw(st.permutations(range(logits.shape[1]))))
    renumbered = torch.full((256,), IGNORE)
    renumbered[order] = torch.arange(len(order))
    assert loss(logits[:, order], renumbered[target]) == pytest.approx(float(loss(logits, target)), abs=1e-12)


@few
@given(batch=batches(), noise=st.floats(-1e4, 1e4))
def test_ignored_pixels_count_nowhere(loss: nn.Module, batch: tuple[Tensor, Tensor], noise: float) -> None:
    logits, target = batch
    ignored = (target == IGNORE).unsqueeze(1).expand_as(logits)
    disturbed = logits.clone()
    disturbed[:, :1][ignored[:, :1]] += noise
    assert loss(disturbed, target) == loss(logits, target)
    assert gradient(loss, disturbed, target)[ignored].eq(0).all()


@few
@given(batch=batches())
def test_an_ignored_image_changes_nothing(loss: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
    logits, target = batch
    padded = torch.cat([logits, logits[:1]]), torch.cat([target, torch.full_like(target[:1], IGNORE)])
    assert loss(*padded) == pytest.approx(float(loss(logits, target)), abs=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_nothing_labelled_gives_zero_and_zero_gradient(
    loss: nn.Module, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    logits = torch.randn(2, 4, *shape, dtype=dtype)
    target = torch.full((2, *shape), IGNORE)
    assert loss(logits, target) == 0
    assert gradient(loss, logits, target).eq(0).all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_huge_logits_stay_finite(loss: nn.Module, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    logits = 1e4 * torch.randint(-1, 2, (4, 5, *shape)).to(dtype)
    target = torch.randint(5, (4, *shape))
    assert loss(logits, target).isfinite()
    assert gradient(loss, logits, target).isfinite().all()


@pytest.mark.parametrize("shape", [(), (2, 1)])
def test_gradient_is_the_slope(loss: nn.Module, shape: tuple[int, ...]) -> None:
    logits = torch.randn(2, 3, *shape, dtype=torch.float64, requires_grad=True)
    target = torch.randint(3, (2, *shape))
    target[0] = IGNORE
    assert torch.autograd.gradcheck(lambda logits: loss(logits, target), logits)


def test_half_precision_is_computed_in_full(loss: nn.Module) -> None:
    logits, target = torch.randn(2, 6, 9, 8).bfloat16(), torch.randint(6, (2, 9, 8))
    plain = gradient(loss, logits, target)
    assert plain.dtype == torch.bfloat16
    torch.testing.assert_close(plain, gradient(loss, logits.float(), target).bfloat16())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(logits, target)
    assert value.dtype == torch.float32
    assert value == loss(logits.float(), target)


def test_memory_format_does_not_matter(loss: nn.Module) -> None:
    logits, target = torch.randn(2, 6, 9, 8), torch.randint(6, (2, 9, 8))
    channels_last = logits.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(loss(channels_last, target), loss(logits, target))
    torch.testing.assert_close(gradient(loss, channels_last, target), gradient(loss, logits, target))


def test_holds_no_state(loss: nn.Module) -> None:
    assert not loss.state_dict()
    assert not list(loss.parameters())
