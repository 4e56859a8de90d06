"""The callback that carries out a plan: rates before every step, and what changes with a phase."""

from __future__ import annotations

import logging
from typing import Any

import lightning as L

from pixelwise.errors import UserError
from pixelwise.models import Composition
from pixelwise.schedules.freezing import freeze, parameter_counts
from pixelwise.schedules.schedule import Plan
from pixelwise.training.module import Module
from pixelwise.types import Batch

log = logging.getLogger(__name__)


class ScheduleCallback(L.Callback):
    """Set rates, freeze parts and exchange the loss, all from the number of optimizer steps taken.

    It has no state to save: resumed anywhere, the first batch enters the phase that it belongs to.

    Args:
        plan: of the whole training.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._entered: int | None = None

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """A weight decay that the optimizer does not have would have no effect."""
        for phase in self.plan.phases:
            if phase.weight_decay is not None and "weight_decay" not in trainer.optimizers[0].defaults:
                raise UserError(
                    f"schedule.phases.{phase.name}.weight_decay: the optimizer has no weight decay",
                    found=type(trainer.optimizers[0]).__name__,
                )

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Enter again: validation may have put frozen batch-norm back into training mode."""
        self._entered = None

    def on_train_batch_start(
        self, trainer: L.Trainer, module: L.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Before each step: the phase's state and the step's learning rates."""
        assert isinstance(module, Module)
        step = trainer.global_step
        index = self.plan.index_at(step)
        phase = self.plan.phases[index]
        if index != self._entered:
            if self._entered is not None:  # within an epoch
                forget_logged_losses(trainer)
            self._enter(module, index)
            if step == phase.start:
                log.info(self.describe(module.model, index))
        optimizer = trainer.optimizers[0]
        decay = optimizer.defaults.get("weight_decay") if phase.weight_decay is None else phase.weight_decay
        for group in optimizer.param_groups:
            group["lr"] = phase.rate(group["part"], step) * group["scale"]
            if group["decays"] and decay is not None:
                group["weight_decay"] = decay

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Log what was used; validate before stopping, also where that is within an epoch."""
        groups = sorted(trainer.optimizers[0].param_groups, key=lambda group: group["lr"])
        rates = {f"lr/{group['part']}": group["lr"] for group in groups}  # of each part the highest
        # loggers take numbers: a column a phase, 1 in its own steps
        names = {f"phase/{p.name}": float(i == self._entered) for i, p in enumerate(self.plan.phases)}
        module.log_dict(rates | names)
        if trainer.global_step >= trainer.max_steps:
            trainer.should_stop = True

    def on_fit_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """What is scored from now on is scored as `evaluate.py` will, however far the plan went."""
        assert isinstance(module, Module)
        module.index_of_loss = -1

    def _enter(self, module: Module, index: int) -> None:
        """Freeze and unfreeze after any wrapping by a strategy, which needs all parts trainable."""
        phase = self.plan.phases[index]
        for part in Composition.PARTS:
            freeze(getattr(module.model, part), part in phase.freeze)
        if module.model.neck is not None:
            freeze(module.model.neck, "decoder" in phase.freeze)
        module.index_of_loss = index
        module.phase = phase.name
        self._entered = index

    def describe(self, model: Composition, index: int) -> str:
        """One line: the phase's length, what trains and how fast."""
        phase = self.plan.phases[index]
        parts = []
        for name, count in parameter_counts(model).items():
            if name in phase.freeze:
                parts.append(f"{name} frozen ({count / 1e6:.2f} M)")
            elif count:
                parts.append(f"{name} {count / 1e6:.2f} M at lr {phase.lr[name]:g}")
        if phase.weight_decay is not None:
            parts.append(f"weight decay {phase.weight_decay:g}")
        if phase.crop_size is not None:
            parts.append("crops of {}×{}".format(*phase.crop_size))
        return (
            f"phase {phase.name!r} ({index + 1}/{len(self.plan.phases)}), steps {phase.start} to "
            f"{phase.stop - 1}, {phase.curve}: " + ", ".join(parts)
        )


def forget_logged_losses(trainer: L.Trainer) -> None:
    """Drop the terms of the loss before; Lightning would log their last values until the epoch ends."""
    trainer.fit_loop.epoch_loop._results.reset(fx="training_step")
