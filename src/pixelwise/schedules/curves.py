"""How a learning rate changes over the steps of a phase: pure functions of (step, steps).

A phase names one (`curve: cosine`), or configures it:
`curve: {_target_: pixelwise.schedules.Polynomial, power: 2}`.
Any callable class of the same signature will do.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any

from pixelwise import checks


@dataclass(frozen=True)
class Curve:
    """Factor on a phase's learning rate.

    Every curve starts at its largest value, 1 (but for `OneCycle`), and would reach its `end` at the
    step after the last one, where the next phase begins.
    """

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            UserError: one is not between its limits.
        """
        for each in fields(self):
            check = checks.whole if isinstance(each.default, int) else checks.number
            key = f"{each.name} of the curve {name(type(self))}"
            check(key, getattr(self, each.name), *each.metadata["limits"])

    def __call__(self, step: int, steps: int) -> float:
        """The factor at one of `steps` steps, 0 ≤ step < steps."""
        raise NotImplementedError

    def __str__(self) -> str:
        """Its name in a config, with the options that differ from the defaults."""
        options = [each for each in fields(self) if getattr(self, each.name) != each.default]
        text = ", ".join(f"{option.name}={getattr(self, option.name):g}" for option in options)
        return name(type(self)) + (f"({text})" if text else "")


def option(default: float, low: float, high: float) -> Any:
    """An option of a curve: a number between two others, whole if its default is an `int`."""
    return field(default=default, metadata={"limits": (low, high)})


def name(curve: type[Curve]) -> str:
    """What a config calls a curve: CosineRestarts → cosine_restarts."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", curve.__name__).lower()


def _half_cosine(t: float) -> float:
    """1 at t = 0, 0 at t = 1."""
    return 0.5 * (1 + math.cos(math.pi * t))


@dataclass(frozen=True)
class Constant(Curve):
    """The same rate throughout."""

    def __call__(self, step: int, steps: int) -> float:
        """Always 1."""
        return 1.0


@dataclass(frozen=True)
class Linear(Curve):
    """Straight down to `end`."""

    end: float = option(0.0, 0, 1)

    def __call__(self, step: int, steps: int) -> float:
        """On the line from 1 to `end`."""
        return 1 - (1 - self.end) * step / steps


@dataclass(frozen=True)
class Cosine(Curve):
    """Half a cosine from 1 to `end` (Loshchilov & Hutter, SGDR, ICLR 2017; arXiv:1608.03983)."""

    end: float = option(0.0, 0, 1)

    def __call__(self, step: int, steps: int) -> float:
        """On the half cosine."""
        return self.end + (1 - self.end) * _half_cosine(step / steps)


@dataclass(frozen=True)
class Polynomial(Curve):
    """(1 - step / steps)^power, the "poly" policy of DeepLab (Chen et al., 2017; arXiv:1606.00915)."""

    power: float = option(0.9, 1e-3, 100)
    end: float = option(0.0, 0, 1)

    def __call__(self, step: int, steps: int) -> float:
        """On the power function from 1 to `end`."""
        return self.end + (1 - self.end) * (1 - step / steps) ** self.power


@dataclass(frozen=True)
class Exponential(Curve):
    """The same ratio from each step to the next, down to `end`."""

    end: float = option(0.01, 1e-12, 1)

    def __call__(self, step: int, steps: int) -> float:
        """`end` to the power of the share that is done."""
        return self.end ** (step / steps)


@dataclass(frozen=True)
class OneCycle(Curve):
    """Up from `start` to 1 during the share `rise` of the steps, then down to `end`, along half cosines.

    Smith & Topin, Super-Convergence (2018; arXiv:1708.07120), with the shape and the defaults of PyTorch's
    OneCycleLR: the last step is at `end`.
    """

    rise: float = option(0.3, 0, 1)
    start: float = option(1 / 25, 0, 1)
    end: float = option(1e-4 / 25, 0, 1)

    def __call__(self, step: int, steps: int) -> float:
        """On the half cosine up, or on the one down."""
        peak, last = self.rise * steps - 1, steps - 1
        if step <= peak:
            return 1 + (self.start - 1) * _half_cosine(step / max(peak, 1e-9))
        return self.end + (1 - self.end) * _half_cosine((step - peak) / max(last - peak, 1e-9))


@dataclass(frozen=True)
class CosineRestarts(Curve):
    """Half cosines from 1 to `end`, one after the other, each `multiplier` times as long as the one before.

    Together they fill the phase: 2 cycles with multiplier 2 over 45 epochs are SGDR's T₀ = 15, T_mult = 2
    (Loshchilov & Hutter, ICLR 2017; arXiv:1608.03983). Cycles begin at whole steps.
    """

    cycles: int = option(3, 1, 1000)
    multiplier: float = option(1.0, 0.1, 10)
    end: float = option(0.0, 0, 1)

    def __call__(self, step: int, steps: int) -> float:
        """On the half cosine of the cycle that the step belongs to."""
        lengths = [self.multiplier**cycle for cycle in range(self.cycles)]
        edges = [round(steps * sum(lengths[:cycle]) / sum(lengths)) for cycle in range(len(lengths) + 1)]
        first, after = next((a, b) for a, b in pairwise(edges) if step < b)
        return self.end + (1 - self.end) * _half_cosine((step - first) / (after - first))


CURVES: dict[str, Callable[[int, int], float]] = {
    name(curve): curve()
    for curve in (Constant, Linear, Cosine, Polynomial, OneCycle, CosineRestarts, Exponential)
}
"""What a phase may name, with default options."""
