"""A schedule is an ordered dict of phases; each gives a learning rate as a pure function of the step.

Nothing here keeps state: which phase it is and what the rates are follows from the number of
optimizer steps taken, so that a resumed run cannot disagree with an uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pixelwise.errors import UserError, nearest

Curve = Callable[[int, int], float]
"""(step, steps) → factor on the phase's learning rate, for 0 ≤ step < steps."""


def constant(step: int, steps: int) -> float:
    """The same rate throughout."""
    return 1.0


def cosine(step: int, steps: int) -> float:
    """Half a cosine from 1 towards 0 (Loshchilov & Hutter, SGDR, ICLR 2017), reached after the last step."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def one_cycle(
    step: int, steps: int, rise: float = 0.3, start: float = 1 / 25, end: float = 1e-4 / 25
) -> float:
    """Up from `start` to 1 during the share `rise` of the steps, then down to `end`, along cosines.

    Smith & Topin, Super-Convergence (2018), with the shape and the defaults of PyTorch's OneCycleLR.
    """
    peak, last = rise * steps - 1, steps - 1
    if step <= peak:
        low, high, t = start, 1.0, step / max(peak, 1e-9)
    else:
        low, high, t = 1.0, end, (step - peak) / max(last - peak, 1e-9)
    return high + (low - high) * 0.5 * (1 + math.cos(math.pi * t))


CURVES: dict[str, Curve] = {"constant": constant, "cosine": cosine, "one_cycle": one_cycle}


@dataclass(frozen=True)
class Phase:
    """A stretch of training with its own learning rates, frozen parts, augmentation and loss.

    Attributes:
        name: the key in `schedule.phases`.
        start, stop: the optimizer steps it covers, stop excluded.
        lr: peak learning rate of each part.
        curve: factor on the rate over the phase's steps after the warm-up.
        warmup: number of steps over which the rate rises linearly to its peak.
        freeze: parts whose weights and batch-norm statistics stand still.
    """

    name: str
    start: int
    stop: int
    lr: Mapping[str, float]
    curve: Curve
    warmup: int
    freeze: frozenset[str]

    def rate(self, part: str, step: int) -> float:
        """Learning rate of a part at a global step; 0 where the part is frozen."""
        if part in self.freeze:
            return 0.0
        step -= self.start
        if step < self.warmup:
            return self.lr[part] * (step + 1) / (self.warmup + 1)
        return self.lr[part] * self.curve(step - self.warmup, self.stop - self.start - self.warmup)


@dataclass(frozen=True)
class Plan:
    """All phases, and how optimizer steps map to epochs."""

    phases: tuple[Phase, ...]
    batches_per_epoch: int
    accumulate: int = 1

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps an epoch; an incomplete accumulation at its end counts as one."""
        return math.ceil(self.batches_per_epoch / self.accumulate)

    @property
    def steps(self) -> int:
        """Length of the whole plan in optimizer steps."""
        return self.phases[-1].stop

    @property
    def epochs(self) -> int:
        """Length of the whole plan in epochs, the last one perhaps incomplete."""
        return math.ceil(self.steps / self.steps_per_epoch)

    def position(self, step: int) -> tuple[int, int]:
        """(epoch, batch) about to be trained on after so many optimizer steps."""
        epoch, steps = divmod(step, self.steps_per_epoch)
        return epoch, steps * self.accumulate

    def index_at(self, step: int) -> int:
        """Index of the phase that a global step belongs to."""
        return next((i for i, phase in enumerate(self.phases) if step < phase.stop), len(self.phases) - 1)

    def index_of_batch(self, epoch: int, batch: int) -> int:
        """Index of the phase that a batch of an epoch belongs to."""
        return self.index_at(epoch * self.steps_per_epoch + batch // self.accumulate)


KEYS = ("epochs", "steps", "lr", "curve", "warmup", "freeze", "augmentation", "crop_size", "loss")


def make_plan(
    phases: Mapping[str, Mapping[str, Any]], parts: Sequence[str], batches_per_epoch: int, accumulate: int = 1
) -> Plan:
    """Check the phases of a config and lay them end to end.

    Args:
        phases: `schedule.phases` as plain containers, in order.
        parts: names that `lr` and `freeze` may use, such as encoder, decoder, head.
        batches_per_epoch: batches that an epoch really has, limits included.
        accumulate: batches that make one optimizer step.

    Raises:
        UserError: naming the key, for anything that cannot be carried out.
    """
    if not phases:
        raise UserError("schedule.phases is empty", expected="at least one phase")
    steps_per_epoch = math.ceil(batches_per_epoch / accumulate)
    planned: list[Phase] = []
    for name, settings in phases.items():
        start = planned[-1].stop if planned else 0
        planned.append(_phase(name, settings, parts, start, steps_per_epoch))
    return Plan(tuple(planned), batches_per_epoch, accumulate)


def _phase(
    name: str, settings: Mapping[str, Any], parts: Sequence[str], start: int, steps_per_epoch: int
) -> Phase:
    key = f"schedule.phases.{name}"
    for unknown in settings.keys() - set(KEYS):
        raise UserError(
            f"{key}.{unknown}: a phase has no such setting",
            expected=" or ".join(nearest(unknown, KEYS)) or ", ".join(KEYS),
        )
    steps = _length(key, settings, steps_per_epoch)
    freeze = frozenset(settings.get("freeze") or ())
    for part in freeze - set(parts):
        raise UserError(f"{key}.freeze: no part {part!r}", expected=f"some of {', '.join(parts)}")
    if freeze >= set(parts):
        raise UserError(f"{key}.freeze: nothing is left to train", expected=f"some of {', '.join(parts)}")
    warmup = settings.get("warmup") or 0.0
    if not 0 <= warmup < 1:
        raise UserError(
            f"{key}.warmup", found=warmup, expected="the share of the phase's steps, 0 ≤ warmup < 1"
        )
    curve = settings.get("curve", "constant")
    if curve not in CURVES:
        raise UserError(f"{key}.curve: no curve {curve!r}", expected=f"one of {', '.join(CURVES)}")
    rates = _rates(key, settings.get("lr"), parts, freeze)
    return Phase(name, start, start + steps, rates, CURVES[curve], round(warmup * steps), freeze)


def _length(key: str, settings: Mapping[str, Any], steps_per_epoch: int) -> int:
    """Optimizer steps of a phase, from its `epochs` or its `steps`."""
    given = {k: settings[k] for k in ("epochs", "steps") if settings.get(k) is not None}
    if len(given) != 1:
        raise UserError(f"{key}: how long?", found=given or "no length", expected="either epochs or steps")
    unit, length = given.popitem()
    steps = length * (steps_per_epoch if unit == "epochs" else 1)
    if isinstance(length, bool) or not isinstance(length, int | float) or steps != int(steps) or steps < 1:
        raise UserError(f"{key}.{unit}", found=length, expected="a whole number of at least 1")
    return int(steps)


def _rates(key: str, lr: Any, parts: Sequence[str], freeze: frozenset[str]) -> dict[str, float]:
    """One learning rate for each part that trains."""
    if not isinstance(lr, Mapping):
        lr = dict.fromkeys(parts, lr)
    for part in lr.keys() - set(parts):
        raise UserError(f"{key}.lr: no part {part!r}", expected=f"some of {', '.join(parts)}")
    rates = {part: lr.get(part) for part in parts if part not in freeze}
    for part, rate in rates.items():
        if isinstance(rate, bool) or not isinstance(rate, int | float) or rate < 0:
            raise UserError(
                f"{key}.lr: the learning rate of {part}", found=rate, expected="a number of at least 0"
            )
    return rates
