"""A schedule is an ordered dict of phases; each phase gives a learning rate as a pure function of the step.

Nothing here has state: the phase and the learning rates depend only on the number of optimizer steps done, so
that a resumed run has the same rates as an uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

from pixelwise import checks
from pixelwise.errors import UserError, nearest
from pixelwise.kinds import Count, Fraction, NonNegative, Positive, Range, Size, Whole, sides
from pixelwise.schedules.curves import CURVES

Warmup = Whole | Fraction
"""A number of steps, or a share of the steps of the phase."""


@dataclass(frozen=True)
class Phase:
    """A range of training steps with its own learning rates, frozen parts, augmentation and loss.

    Attributes:
        name: the key in `schedule.phases`.
        start: the first optimizer step of the phase.
        stop: the first optimizer step after the phase.
        lr: peak learning rate of each part.
        curve: (step, steps) → factor of the learning rate in the steps after the warm-up of a part.
        warmup: number of steps over which the learning rate of each part rises linearly to its peak.
        freeze: parts whose weights and batch-norm statistics do not change.
        weight_decay: weight decay of the groups that decay; None keeps that of the optimizer.
        crop_size: (height, width) of the training images; None keeps that of the data.
    """

    name: str
    start: int
    stop: int
    lr: Mapping[str, float]
    curve: Callable[[int, int], float]
    warmup: Mapping[str, int]
    freeze: frozenset[str]
    weight_decay: float | None = None
    crop_size: tuple[int, int] | None = None

    def rate(self, part: str, step: int) -> float:
        """Return the learning rate of a part at a global step; 0 if the part is frozen."""
        if part in self.freeze:
            return 0.0
        step -= self.start
        warmup = self.warmup[part]
        if step < warmup:
            return self.lr[part] * (step + 1) / (warmup + 1)
        return self.lr[part] * self.curve(step - warmup, self.stop - self.start - warmup)


@dataclass(frozen=True)
class Plan:
    """All phases, and the mapping from optimizer steps to epochs."""

    phases: tuple[Phase, ...]
    batches_per_epoch: int
    accumulate: int = 1

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps per epoch; an incomplete accumulation at the end counts as one step."""
        return math.ceil(self.batches_per_epoch / self.accumulate)

    @property
    def steps(self) -> int:
        """Length of the training in optimizer steps."""
        return self.phases[-1].stop

    @property
    def epochs(self) -> int:
        """Length of the training in epochs; the last one can be incomplete."""
        return math.ceil(self.steps / self.steps_per_epoch)

    def position(self, step: int) -> tuple[int, int]:
        """Return (epoch, batch) of the next training batch after a number of optimizer steps."""
        epoch, steps = divmod(step, self.steps_per_epoch)
        return epoch, steps * self.accumulate

    def index_at(self, step: int) -> int:
        """Return the index of the phase that contains a global step."""
        return next((i for i, phase in enumerate(self.phases) if step < phase.stop), len(self.phases) - 1)

    def index_of_batch(self, epoch: int, batch: int) -> int:
        """Return the index of the phase that contains a batch of an epoch."""
        return self.index_at(epoch * self.steps_per_epoch + batch // self.accumulate)

    def in_step(self, batch: int) -> int:
        """Return the number of batches in the optimizer step that starts with this batch of an epoch."""
        return max(1, min(self.accumulate, self.batches_per_epoch - batch))

    def check_accumulation(self) -> None:
        """Raise an error if an optimizer step has more batches than an epoch: steps end with the epoch."""
        if self.accumulate > self.batches_per_epoch:
            raise UserError(
                "trainer.accumulate_grad_batches: an optimizer step cannot continue in the next epoch",
                found=f"{self.accumulate}, with {self.batches_per_epoch} batches per epoch",
                expected=f"at most {self.batches_per_epoch}",
                fix="a smaller number, or a smaller data.batch_size",
            )


class PhaseSettings(TypedDict, total=False):
    """The settings of a phase in a config. Its augmentation, mixing and loss are built elsewhere."""

    epochs: Positive | None
    steps: Count | None
    lr: NonNegative | Mapping[str, NonNegative]
    curve: str | Callable[[int, int], float] | None
    warmup: Warmup | Mapping[str, Warmup] | None
    freeze: str | Sequence[str] | None
    weight_decay: NonNegative | None
    augmentation: Any
    mixing: Any
    crop_size: Size | Annotated[float, Range(above=0, below=1)] | None
    loss: Any


KEYS = tuple(PhaseSettings.__annotations__)


def make_plan(
    phases: Mapping[str, Mapping[str, Any]],
    parts: Sequence[str],
    batches_per_epoch: int,
    accumulate: int = 1,
    crop_size: int | Sequence[int] | None = None,
) -> Plan:
    """Check the phases of a config and place them one after the other.

    An epoch is a length in steps here: after a phase of `steps` that ends within an epoch, a phase of one
    epoch ends at the same place within the next epoch.

    Args:
        phases: `schedule.phases` as plain containers, in order; a curve is a name or an object.
        parts: names that `lr` and `freeze` can use, such as encoder, decoder, head.
        batches_per_epoch: number of training batches per epoch, after limits such as
            `trainer.limit_train_batches`.
        accumulate: number of batches per optimizer step.
        crop_size: crop size of the data; a phase can use a share of it.

    Raises:
        UserError: a setting is invalid; the message names its key.
    """
    if not phases:
        raise UserError("schedule.phases is empty", expected="at least one phase")
    steps_per_epoch = math.ceil(batches_per_epoch / accumulate)
    planned: list[Phase] = []
    for name, settings in phases.items():
        start = planned[-1].stop if planned else 0
        planned.append(_phase(name, settings, parts, start, steps_per_epoch, crop_size))
    return Plan(tuple(planned), batches_per_epoch, accumulate)


def _phase(
    name: str,
    settings: Mapping[str, Any],
    parts: Sequence[str],
    start: int,
    steps_per_epoch: int,
    crop_size: int | Sequence[int] | None,
) -> Phase:
    key = f"schedule.phases.{name}"
    checks.check(key, settings, PhaseSettings)
    for unknown in (k for k in settings if k not in KEYS):
        raise UserError(f"{key}.{unknown}: a phase has no such setting", expected=_similar(unknown, KEYS))
    steps = _length(key, settings, steps_per_epoch)
    freeze = _frozen(f"{key}.freeze", settings.get("freeze") or (), parts)
    return Phase(
        name=name,
        start=start,
        stop=start + steps,
        lr=_rates(key, settings.get("lr"), parts, freeze),
        curve=_curve(key, settings.get("curve") or "constant"),
        warmup=_warmups(f"{key}.warmup", settings.get("warmup"), parts, steps),
        freeze=freeze,
        weight_decay=settings.get("weight_decay"),
        crop_size=_crop(settings.get("crop_size"), crop_size),
    )


def _length(key: str, settings: Mapping[str, Any], steps_per_epoch: int) -> int:
    """Return the optimizer steps of a phase, from its `epochs` or its `steps`."""
    given = {k: settings[k] for k in ("epochs", "steps") if settings.get(k) is not None}
    if len(given) != 1:
        raise UserError(
            f"{key}: length of the phase", found=given or "none", expected="either epochs or steps"
        )
    unit, length = given.popitem()
    steps = length * (steps_per_epoch if unit == "epochs" else 1)
    if steps < 1 or abs(steps - round(steps)) > 1e-6:
        found = f"{length}, which is {steps:g} steps" if unit == "epochs" else length
        raise UserError(f"{key}.{unit}", found=found, expected="a whole number of steps, 1 or more")
    return round(steps)


def _frozen(key: str, freeze: str | Iterable[str], parts: Sequence[str]) -> frozenset[str]:
    """Return the frozen parts; not all parts can be frozen."""
    frozen = [freeze] if isinstance(freeze, str) else list(freeze)
    for part in frozen:
        if part not in parts:
            raise UserError(f"{key}: no part {part!r}", expected=_similar(part, parts))
    if set(frozen) >= set(parts):
        raise UserError(f"{key}: nothing is left to train", expected=f"some of {', '.join(parts)}")
    return frozenset(frozen)


def _curve(key: str, curve: Any) -> Callable[[int, int], float]:
    """Return a curve given by name or as an object."""
    if callable(curve):
        return curve
    if curve not in CURVES:
        raise UserError(f"{key}.curve: no curve {curve!r}", expected=_similar(curve, CURVES))
    return CURVES[curve]


def _rates(key: str, lr: Any, parts: Sequence[str], freeze: frozenset[str]) -> dict[str, float]:
    """Return the learning rate of each part that is trained."""
    if not isinstance(lr, Mapping):
        lr = dict.fromkeys(parts, lr)
    for part in lr:
        if part not in parts:
            raise UserError(f"{key}.lr: no part {part!r}", expected=_similar(part, parts))
    trained = [part for part in parts if part not in freeze]
    for part in trained:
        checks.check(f"{key}.lr: the learning rate of {part}", lr.get(part), NonNegative)
    return {part: lr[part] for part in trained}


def _warmups(key: str, warmup: Any, parts: Sequence[str], steps: int) -> dict[str, int]:
    """Return the steps of the warm-up of each part; a share leaves at least one step at the peak."""
    given = warmup if isinstance(warmup, Mapping) else dict.fromkeys(parts, warmup or 0)
    for part, length in given.items():
        if part not in parts:
            raise UserError(f"{key}: no part {part!r}", expected=_similar(part, parts))
        if isinstance(length, int) and length >= steps:
            raise UserError(
                f"{key}: the warm-up is as long as the phase",
                found=f"{length} steps in a phase of {steps}",
                expected="a smaller number of steps, or a share of them, such as 0.05",
            )
    lengths = {part: given.get(part, 0) for part in parts}
    return {p: n if isinstance(n, int) else min(round(n * steps), steps - 1) for p, n in lengths.items()}


def _crop(size: Any, data_size: Any) -> tuple[int, int] | None:
    """Return (height, width) in pixels; a share is rounded to multiples of 32, the usual stride."""
    if size is None:
        return None
    if isinstance(size, float):
        checks.check("data.crop_size", data_size, Size)
        size = [32 * max(1, round(size * side / 32)) for side in sides(data_size)]
    return sides(size)


def _similar(word: Any, names: Iterable[str]) -> str:
    """Return the names that are similar to a word, or all names."""
    names = list(names)
    return " or ".join(nearest(str(word), names)) or "one of " + ", ".join(names)
