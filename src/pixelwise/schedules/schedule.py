"""A schedule is an ordered dict of phases; each gives a learning rate as a pure function of the step.

Nothing here keeps state: which phase it is and what the rates are follows from the number of
optimizer steps taken, so that a resumed run cannot disagree with an uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pixelwise import checks
from pixelwise.errors import UserError, nearest
from pixelwise.schedules.curves import CURVES


@dataclass(frozen=True)
class Phase:
    """A stretch of training with its own learning rates, frozen parts, augmentation and loss.

    Attributes:
        name: the key in `schedule.phases`.
        start: the first optimizer step it covers.
        stop: the first one after it.
        lr: peak learning rate of each part.
        curve: (step, steps) → factor on the rate over the phase's steps after the warm-up.
        warmup: number of steps over which the rate rises linearly to its peak.
        freeze: parts whose weights and batch-norm statistics stand still.
        weight_decay: of the parameters that decay at all; None keeps the optimizer's.
        crop_size: (height, width) of the training images; None keeps the data's.
    """

    name: str
    start: int
    stop: int
    lr: Mapping[str, float]
    curve: Callable[[int, int], float]
    warmup: int
    freeze: frozenset[str]
    weight_decay: float | None = None
    crop_size: tuple[int, int] | None = None

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

    def in_step(self, batch: int) -> int:
        """Number of batches of the optimizer step that begins with this batch of an epoch."""
        return max(1, min(self.accumulate, self.batches_per_epoch - batch))

    def check_accumulation(self) -> None:
        """Refuse to accumulate over more batches than an epoch has, where each step ends at the latest."""
        if self.accumulate > self.batches_per_epoch:
            raise UserError(
                "trainer.accumulate_grad_batches: a step cannot go on into the next epoch",
                found=f"{self.accumulate}, with {self.batches_per_epoch} batches an epoch",
                expected=f"at most {self.batches_per_epoch}",
                fix="a smaller number, or a smaller data.batch_size",
            )


KEYS = (
    "epochs",
    "steps",
    "lr",
    "curve",
    "warmup",
    "freeze",
    "weight_decay",
    "augmentation",
    "crop_size",
    "loss",
)
"""What a phase may say. Its augmentation and its loss are built elsewhere."""


def make_plan(
    phases: Mapping[str, Mapping[str, Any]],
    parts: Sequence[str],
    batches_per_epoch: int,
    accumulate: int = 1,
    crop_size: int | Sequence[int] | None = None,
) -> Plan:
    """Check the phases of a config and lay them end to end.

    An epoch is a length here, as many steps as the data give: after a phase of `steps` that ends within an
    epoch, a phase of one epoch lasts until the same place of the next.

    Args:
        phases: `schedule.phases` as plain containers, in order; a curve is a name or already built.
        parts: names that `lr` and `freeze` may use, such as encoder, decoder, head.
        batches_per_epoch: batches that an epoch really has, limits included.
        accumulate: batches that make one optimizer step.
        crop_size: the data's, of which a phase may take a share.

    Raises:
        UserError: naming the key, for anything that cannot be carried out.
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
    if not isinstance(settings, Mapping):
        raise UserError(f"{key} is no phase", found=settings, expected="keys such as epochs, lr and curve")
    for unknown in (k for k in settings if k not in KEYS):
        raise UserError(f"{key}.{unknown}: a phase has no such setting", expected=_meant(unknown, KEYS))
    steps = _length(key, settings, steps_per_epoch)
    freeze = _frozen(f"{key}.freeze", settings.get("freeze") or (), parts)
    warmup = settings.get("warmup") or 0.0
    share = "the share of the phase's steps, from 0 to below 1"
    checks.number(f"{key}.warmup", warmup, 0, below=1, expected=share)
    decay = settings.get("weight_decay")
    if decay is not None:
        checks.number(f"{key}.weight_decay", decay, 0)
    return Phase(
        name=name,
        start=start,
        stop=start + steps,
        lr=_rates(key, settings.get("lr"), parts, freeze),
        curve=_curve(key, settings.get("curve") or "constant"),
        warmup=min(round(warmup * steps), steps - 1),
        freeze=freeze,
        weight_decay=decay,
        crop_size=_crop(f"{key}.crop_size", settings.get("crop_size"), crop_size),
    )


def _length(key: str, settings: Mapping[str, Any], steps_per_epoch: int) -> int:
    """Optimizer steps of a phase, from its `epochs` or its `steps`."""
    given = {k: settings[k] for k in ("epochs", "steps") if settings.get(k) is not None}
    if len(given) != 1:
        raise UserError(f"{key}: how long?", found=given or "no length", expected="either epochs or steps")
    unit, length = given.popitem()
    steps = checks.number(f"{key}.{unit}", length, above=0) * (steps_per_epoch if unit == "epochs" else 1)
    if steps < 1 or abs(steps - round(steps)) > 1e-6:
        found = f"{length}, which is {steps:g} steps" if unit == "epochs" else length
        raise UserError(f"{key}.{unit}", found=found, expected="a whole number of steps, 1 or more")
    return round(steps)


def _frozen(key: str, freeze: str | Iterable[str], parts: Sequence[str]) -> frozenset[str]:
    """The parts that stand still, some but not all."""
    frozen = [freeze] if isinstance(freeze, str) else list(freeze)
    for part in frozen:
        if part not in parts:
            raise UserError(f"{key}: no part {part!r}", expected=_meant(part, parts))
    if set(frozen) >= set(parts):
        raise UserError(f"{key}: nothing is left to train", expected=f"some of {', '.join(parts)}")
    return frozenset(frozen)


def _curve(key: str, curve: Any) -> Callable[[int, int], float]:
    """A curve by its name, or as it was built."""
    if callable(curve):
        return curve
    if curve not in CURVES:
        raise UserError(f"{key}.curve: no curve {curve!r}", expected=_meant(curve, CURVES))
    return CURVES[curve]


def _rates(key: str, lr: Any, parts: Sequence[str], freeze: frozenset[str]) -> dict[str, float]:
    """One learning rate for each part that trains."""
    if not isinstance(lr, Mapping):
        lr = dict.fromkeys(parts, lr)
    for part in lr:
        if part not in parts:
            raise UserError(f"{key}.lr: no part {part!r}", expected=_meant(part, parts))
    trained = [part for part in parts if part not in freeze]
    for part in trained:
        checks.number(f"{key}.lr: the learning rate of {part}", lr.get(part), 0)
    return {part: lr[part] for part in trained}


def _crop(key: str, size: Any, whole: int | Sequence[int] | None) -> tuple[int, int] | None:
    """(height, width) in pixels; a share of the data's is rounded to multiples of 32, the usual stride."""
    if size is None:
        return None
    if isinstance(size, float) and 0 < size < 1 and whole is not None:
        size = [32 * max(1, round(size * side / 32)) for side in checks.extent("data.crop_size", whole)]
    expected = "pixels, [height, width], or a share of data.crop_size between 0 and 1"
    return checks.extent(key, size, expected=expected)


def _meant(word: Any, known: Iterable[str]) -> str:
    """The known words that look like this one, or all of them."""
    known = list(known)
    return " or ".join(nearest(str(word), known)) or "one of " + ", ".join(known)
