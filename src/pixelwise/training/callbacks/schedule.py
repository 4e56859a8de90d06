"""The callback that applies the schedule: learning rates before every step and changes of phase."""

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
    """Set learning rates, freeze parts and select the loss from the number of optimizer steps.

    The callback has no state to save: in a resumed run, the first batch enters the phase that contains it.

    Args:
        plan: the phases of the training.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._entered: int | None = None

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Refuse a weight decay in a phase if the optimizer has no weight decay."""
        for phase in self.plan.phases:
            if phase.weight_decay is not None and "weight_decay" not in trainer.optimizers[0].defaults:
                raise UserError(
                    f"schedule.phases.{phase.name}.weight_decay: the optimizer has no weight decay",
                    found=type(trainer.optimizers[0]).__name__,
                )

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Enter the phase again: validation may have set frozen batch-norm to training mode."""
        self._entered = None

    def on_train_batch_start(
        self, trainer: L.Trainer, module: L.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Apply the phase if it is new, and set the learning rates of the step."""
        assert isinstance(module, Module)
        step = trainer.global_step
        index = self.plan.index_at(step)
        phase = self.plan.phases[index]
        if index != self._entered:
            if self._entered is not None:  # the phase changes within an epoch
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
        """Log the learning rates and the phase; stop, after a validation, at the last step of the plan."""
        groups = sorted(trainer.optimizers[0].param_groups, key=lambda group: group["lr"])
        rates = {f"lr/{group['part']}": group["lr"] for group in groups}  # the highest rate of each part
        # loggers accept only numbers: one column for each phase, 1 during the phase and else 0
        names = {f"phase/{p.name}": float(i == self._entered) for i, p in enumerate(self.plan.phases)}
        module.log_dict(rates | names)
        if trainer.global_step >= trainer.max_steps:
            trainer.should_stop = True

    def on_fit_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Select the last loss for the final evaluation, like `evaluate.py`, wherever training stopped."""
        assert isinstance(module, Module)
        module.index_of_loss = -1

    def _enter(self, module: Module, index: int) -> None:
        """Freeze and unfreeze parts, after the strategy has wrapped the model with all parts trainable."""
        phase = self.plan.phases[index]
        for part in Composition.PARTS:
            freeze(getattr(module.model, part), part in phase.freeze)
        for name, part in module.model.trained_with.items():
            freeze(module.model.get_submodule(name), part in phase.freeze)
        module.index_of_loss = index
        module.phase = phase.name
        self._entered = index

    def describe(self, model: Composition, index: int) -> str:
        """Return one line: steps and curve of a phase, weights and learning rate of each part."""
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
    """Drop the loss terms of the previous phase; Lightning would log them until the end of the epoch."""
    trainer.fit_loop.epoch_loop._results.reset(fx="training_step")
