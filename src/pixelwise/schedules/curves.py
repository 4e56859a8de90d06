"""How a learning rate changes over the steps of a phase: pure functions of (step, steps).

A phase names a curve (`curve: cosine`) or configures it:
`curve: {_target_: pixelwise.schedules.Polynomial, power: 2}`.
Any callable class with the same signature can be used.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Annotated

from pixelwise.checks import checked
from pixelwise.kinds import Range, Share


@dataclass(frozen=True)
class Curve:
    """Factor of the learning rate of a phase.

    Every curve except `OneCycle` starts at its largest value, 1, and would reach its `end` one step after the
    last step, where the next phase begins.
    """

    def __call__(self, step: int, steps: int) -> float:
        """Return the factor at a step of the phase, 0 ≤ step < steps."""
        raise NotImplementedError

    def __str__(self) -> str:
        """Return the name of the curve in a config, with the options that differ from the defaults."""
        changed = [option for option in fields(self) if getattr(self, option.name) != option.default]
        text = ", ".join(f"{option.name}={getattr(self, option.name):g}" for option in changed)
        return name(type(self)) + (f"({text})" if text else "")


def name(curve: type[Curve]) -> str:
    """Return the name of a curve in a config: CosineRestarts → cosine_restarts."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", curve.__name__).lower()


def _half_cosine(t: float) -> float:
    """Half a cosine from 1 at t = 0 to 0 at t = 1."""
    return 0.5 * (1 + math.cos(math.pi * t))


@checked
@dataclass(frozen=True)
class Constant(Curve):
    """A constant learning rate."""

    def __call__(self, step: int, steps: int) -> float:
        """Return 1."""
        return 1.0


@checked
@dataclass(frozen=True)
class Linear(Curve):
    """A straight line from 1 to `end`."""

    end: Share = 0.0

    def __call__(self, step: int, steps: int) -> float:
        """Return the value on the line."""
        return 1 - (1 - self.end) * step / steps


@checked
@dataclass(frozen=True)
class Cosine(Curve):
    """Half a cosine from 1 to `end` (Loshchilov & Hutter, SGDR, ICLR 2017; arXiv:1608.03983)."""

    end: Share = 0.0

    def __call__(self, step: int, steps: int) -> float:
        """Return the value on the half cosine."""
        return self.end + (1 - self.end) * _half_cosine(step / steps)


@checked
@dataclass(frozen=True)
class Polynomial(Curve):
    """(1 - step / steps)^power, the "poly" policy of DeepLab (Chen et al., 2017; arXiv:1606.00915)."""

    power: Annotated[float, Range(1e-3, 100)] = 0.9
    end: Share = 0.0

    def __call__(self, step: int, steps: int) -> float:
        """Return the value on the power function from 1 to `end`."""
        return self.end + (1 - self.end) * (1 - step / steps) ** self.power


@checked
@dataclass(frozen=True)
class Exponential(Curve):
    """Exponential decay from 1 to `end`."""

    end: Annotated[float, Range(1e-12, 1)] = 0.01

    def __call__(self, step: int, steps: int) -> float:
        """Return `end` to the power of step / steps."""
        return self.end ** (step / steps)


@checked
@dataclass(frozen=True)
class OneCycle(Curve):
    """Half a cosine up from `start` to 1 over the share `rise` of the steps, then one down to `end`.

    Smith & Topin, Super-Convergence (2018; arXiv:1708.07120), with the shape and the defaults of PyTorch's
    OneCycleLR: the last step has the factor `end`.
    """

    rise: Share = 0.3
    start: Share = 1 / 25
    end: Share = 1e-4 / 25

    def __call__(self, step: int, steps: int) -> float:
        """Return the value on the rising or the falling half cosine."""
        peak, last = self.rise * steps - 1, steps - 1
        if step <= peak:
            return 1 + (self.start - 1) * _half_cosine(step / max(peak, 1e-9))
        return self.end + (1 - self.end) * _half_cosine((step - peak) / max(last - peak, 1e-9))


@checked
@dataclass(frozen=True)
class CosineRestarts(Curve):
    """Half cosines from 1 to `end`, one after the other, each `multiplier` times as long as the one before.

    Together they span the phase: 2 cycles with multiplier 2 over 45 epochs are SGDR's T₀ = 15, T_mult = 2
    (Loshchilov & Hutter, ICLR 2017; arXiv:1608.03983). Cycle lengths are rounded.
    """

    cycles: Annotated[int, Range(1, 1000)] = 3
    multiplier: Annotated[float, Range(0.1, 10)] = 1.0
    end: Share = 0.0

    def __call__(self, step: int, steps: int) -> float:
        """Return the value on the half cosine of the cycle that contains the step."""
        lengths = [self.multiplier**cycle for cycle in range(self.cycles)]
        edges = [round(steps * sum(lengths[:cycle]) / sum(lengths)) for cycle in range(len(lengths) + 1)]
        first, after = next((a, b) for a, b in pairwise(edges) if step < b)
        return self.end + (1 - self.end) * _half_cosine((step - first) / (after - first))


CURVES: dict[str, Callable[[int, int], float]] = {
    name(curve): curve()
    for curve in (Constant, Linear, Cosine, Polynomial, OneCycle, CosineRestarts, Exponential)
}
"""The curves that a phase can name, with default options."""
