"""Learning rates against values worked out by hand and against PyTorch's schedulers."""

import math

import pytest
import torch

from pixelwise.errors import UserError
from pixelwise.schedule import CURVES, Plan, make_plan

pytestmark = pytest.mark.fast
PARTS = ("encoder", "decoder", "head")


def plan(batches_per_epoch: int = 10, accumulate: int = 1, **phases: dict) -> Plan:
    return make_plan(phases, PARTS, batches_per_epoch, accumulate)


def torch_rates(scheduler_class: type, steps: int, **options: float) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = scheduler_class(optimizer, **options)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("steps", [7, 40, 101])
def test_one_cycle_is_that_of_pytorch(steps: int) -> None:
    expected = torch_rates(torch.optim.lr_scheduler.OneCycleLR, steps, max_lr=0.1, total_steps=steps)
    phase = plan(1, all={"steps": steps, "lr": 0.1, "curve": "one_cycle"}).phases[0]
    assert [phase.rate("head", s) for s in range(steps)] == pytest.approx(expected, rel=1e-9)


def test_cosine_is_that_of_pytorch() -> None:
    expected = torch_rates(torch.optim.lr_scheduler.CosineAnnealingLR, 30, T_max=30)
    phase = plan(1, all={"steps": 30, "lr": 0.1, "curve": "cosine"}).phases[0]
    assert [phase.rate("head", s) for s in range(30)] == pytest.approx(expected, rel=1e-9)


def test_rates_at_phase_edges_by_hand() -> None:
    two = plan(
        10,
        first={"epochs": 2, "lr": 1e-3, "freeze": ["encoder"]},
        second={
            "steps": 15,
            "lr": {"encoder": 1.0, "decoder": 2.0, "head": 4.0},
            "curve": "cosine",
            "warmup": 0.2,
        },
    )
    first, second = two.phases
    assert (first.start, first.stop, second.start, second.stop, two.steps, two.epochs) == (
        0,
        20,
        20,
        35,
        35,
        4,
    )
    assert [two.index_at(s) for s in (0, 19, 20, 34, 35)] == [0, 0, 1, 1, 1]
    assert (first.rate("encoder", 5), first.rate("decoder", 19)) == (0.0, 1e-3)
    # three steps of warm-up: a quarter, a half, three quarters; the peak is the first step after it
    assert [second.rate("head", s) for s in (20, 21, 22, 23)] == pytest.approx([1.0, 2.0, 3.0, 4.0])
    # half a cosine over the 12 steps that remain: its middle is at step 29, the last step just above 0
    assert second.rate("encoder", 29) == pytest.approx(0.5)
    assert second.rate("decoder", 34) == pytest.approx(2 * 0.5 * (1 + math.cos(math.pi * 11 / 12)))


def test_batches_map_to_steps_under_accumulation() -> None:
    p = plan(5, accumulate=2, a={"epochs": 1, "lr": 1.0}, b={"epochs": 1, "lr": 1.0})
    assert (p.steps_per_epoch, p.steps, p.epochs) == (3, 6, 2)
    assert [p.index_of_batch(e, b) for e in (0, 1) for b in range(5)] == [0] * 5 + [1] * 5


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("steps", [1, 2, 3, 50])
def test_factors_stay_between_zero_and_one(curve: str, steps: int) -> None:
    assert all(0 <= CURVES[curve](s, steps) <= 1 for s in range(steps))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 1, "lr": 1.0, "warm_up": 3}, r"phases\.all\.warm_up.*\n.*warmup"),
        ({"lr": 1.0}, r"phases\.all: how long"),
        ({"epochs": 1, "steps": 3, "lr": 1.0}, r"phases\.all: how long"),
        ({"epochs": 0, "lr": 1.0}, r"phases\.all\.epochs"),
        ({"steps": 1.5, "lr": 1.0}, r"phases\.all\.steps"),
        ({"epochs": 1, "lr": 1.0, "freeze": ["neck"]}, r"phases\.all\.freeze: no part 'neck'"),
        ({"epochs": 1, "lr": 1.0, "freeze": list(PARTS)}, "nothing is left to train"),
        ({"epochs": 1, "lr": {"encoder": 1.0}}, "learning rate of decoder"),
        ({"epochs": 1, "lr": {"encoder": 1, "decoder": 1, "head": 1, "tail": 1}}, "no part 'tail'"),
        ({"epochs": 1, "lr": "fast"}, "learning rate of encoder"),
        ({"epochs": 1, "lr": 1.0, "curve": "cosin"}, "no curve 'cosin'"),
        ({"epochs": 1, "lr": 1.0, "warmup": 1.0}, r"phases\.all\.warmup"),
    ],
)
def test_what_cannot_be_carried_out_is_an_error_that_names_the_key(settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan(10, all=settings)
