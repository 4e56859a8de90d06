"""The callback that carries out a plan: rates before every step, and what changes with a phase."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import lightning as L
from torch import nn

from pixelwise.losses import WeightedSum
from pixelwise.models import Composition
from pixelwise.module import Module
from pixelwise.schedule import Plan
from pixelwise.types import Batch

log = logging.getLogger(__name__)


class FollowPlan(L.Callback):
    """Set learning rates, freeze parts and exchange the loss, all from the number of steps taken.

    Args:
        plan: of the whole training.
        losses: one a phase.
    """

    def __init__(self, plan: Plan, losses: Sequence[WeightedSum]) -> None:
        self.plan = plan
        self.losses = losses
        self._entered: int | None = None

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
            self._enter(module, index)
            if step == phase.start:
                log.info(self.describe(module.model, index))
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = phase.rate(group["part"], step) * group["scale"]

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Log what was used; validate before stopping, also where that is within an epoch."""
        groups = sorted(trainer.optimizers[0].param_groups, key=lambda group: group["lr"])
        rates = {f"lr/{group['part']}": group["lr"] for group in groups}  # of each part the highest
        module.log_dict({**rates, "phase": float(self._entered or 0)})
        if trainer.global_step >= trainer.max_steps:
            trainer.should_stop = True

    def _enter(self, module: Module, index: int) -> None:
        """Freeze and unfreeze after any wrapping by a strategy, which needs all parts trainable."""
        phase = self.plan.phases[index]
        for part in Composition.PARTS:
            freeze(getattr(module.model, part), part in phase.freeze)
        module.loss = self.losses[index]
        module.phase = phase.name
        self._entered = index

    def describe(self, model: Composition, index: int) -> str:
        """One line: the phase's length, what trains and how fast."""
        phase = self.plan.phases[index]
        parts = []
        for name in Composition.PARTS:
            count = sum(p.numel() for p in getattr(model, name).parameters())
            if name in phase.freeze:
                parts.append(f"{name} frozen ({count / 1e6:.2f} M)")
            elif count:
                parts.append(f"{name} {count / 1e6:.2f} M at lr {phase.lr[name]:g}")
        return (
            f"phase {phase.name!r} ({index + 1}/{len(self.plan.phases)}), steps {phase.start} to "
            f"{phase.stop - 1}, {phase.curve.__name__}: " + ", ".join(parts)
        )


def freeze(part: nn.Module, frozen: bool) -> None:
    """Stop (or let go) a part's weights and its batch-norm statistics and dropout."""
    for parameter in part.parameters():
        parameter.requires_grad_(not frozen)
        if frozen:
            parameter.grad = None  # left over from the phase before; an optimizer would still apply it
    part.train(not frozen)
