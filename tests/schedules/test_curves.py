"""Curves against PyTorch's schedulers and against values worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tests.helpers import refused
from torch.optim import lr_scheduler

from pixelwise.schedules.curves import (
    CURVES,
    Constant,
    Cosine,
    CosineRestarts,
    Curve,
    Exponential,
    Linear,
    OneCycle,
    Polynomial,
)

pytestmark = pytest.mark.fast


def torch_factors(scheduler_class: Any, steps: int, **options: Any) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = scheduler_class(optimizer, **options)
    factors = []
    for _ in range(steps):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return factors


@pytest.mark.parametrize("steps", [7, 45, 90])
@pytest.mark.parametrize(
    ("curve", "scheduler", "options"),
    [
        (Constant(), lr_scheduler.ConstantLR, lambda n: {"factor": 1.0}),
        (
            Linear(0.25),
            lr_scheduler.LinearLR,
            lambda n: {"start_factor": 1, "end_factor": 0.25, "total_iters": n},
        ),
        (Cosine(), lr_scheduler.CosineAnnealingLR, lambda n: {"T_max": n}),
        (Cosine(0.2), lr_scheduler.CosineAnnealingLR, lambda n: {"T_max": n, "eta_min": 0.2}),
        (Polynomial(0.9), lr_scheduler.PolynomialLR, lambda n: {"total_iters": n, "power": 0.9}),
        (OneCycle(), lr_scheduler.OneCycleLR, lambda n: {"max_lr": 1.0, "total_steps": n}),
        (Exponential(0.01), lr_scheduler.ExponentialLR, lambda n: {"gamma": 0.01 ** (1 / n)}),
    ],
    ids=lambda value: str(value) if isinstance(value, Curve) else "",
)
def test_curves_equal_those_of_pytorch(curve: Curve, scheduler: Any, options: Any, steps: int) -> None:
    expected = torch_factors(scheduler, steps, **options(steps))
    assert [curve(s, steps) for s in range(steps)] == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("first", "multiplier", "cycles"), [(15, 2, 2), (10, 1, 3), (2, 3, 4)])
def test_cosine_restarts_equal_those_of_pytorch(first: int, multiplier: int, cycles: int) -> None:
    steps = sum(first * multiplier**c for c in range(cycles))
    expected = torch_factors(lr_scheduler.CosineAnnealingWarmRestarts, steps, T_0=first, T_mult=multiplier)
    curve = CosineRestarts(cycles, multiplier)
    assert [curve(s, steps) for s in range(steps)] == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_curve_values_by_hand() -> None:
    assert [Linear()(s, 4) for s in range(4)] == [1, 0.75, 0.5, 0.25]
    assert Polynomial(2, end=0.5)(1, 2) == 0.5 + 0.5 * 0.25
    assert Exponential(0.01)(5, 10) == pytest.approx(0.1)
    # five steps in two cycles: 2½ steps each, rounded to 2 and 3
    half, thirds = 0.5, [0.5 * (1 + math.cos(math.pi * t / 3)) for t in range(3)]
    assert [CosineRestarts(2)(s, 5) for s in range(5)] == pytest.approx([1, half, *thirds])


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("steps", [1, 2, 3, 50])
def test_factors_stay_between_zero_and_one(curve: str, steps: int) -> None:
    assert all(0 <= CURVES[curve](s, steps) <= 1 for s in range(steps))
    assert max(CURVES[curve](s, steps) for s in range(steps)) == pytest.approx(1) or curve == "one_cycle"


def test_str_of_a_curve_shows_name_and_changed_options() -> None:
    assert [str(curve) for curve in CURVES.values()] == list(CURVES)
    assert list(CURVES) == [
        "constant", "linear", "cosine", "polynomial", "one_cycle", "cosine_restarts", "exponential",
    ]  # fmt: skip
    assert str(CosineRestarts(2, 2, 0.1)) == "cosine_restarts(cycles=2, multiplier=2, end=0.1)"


@pytest.mark.parametrize(
    ("curve", "options"),
    [
        (Polynomial, {"power": 0}),
        (Polynomial, {"power": "two"}),
        (Cosine, {"end": 1.5}),
        (Linear, {"end": True}),
        (Exponential, {"end": 0}),
        (CosineRestarts, {"cycles": 0}),
        (CosineRestarts, {"cycles": 1.5}),
        (OneCycle, {"rise": -0.1}),
    ],
)
def test_option_out_of_range_is_refused(curve: Any, options: dict[str, Any]) -> None:
    with refused(rf"^{curve.__name__}\.{next(iter(options))}\n"):
        curve(**options)
