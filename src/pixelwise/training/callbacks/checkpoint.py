"""Checkpoints: the best weights, the last state and the state before it."""

from __future__ import annotations

import logging
import math
import operator
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import lightning as L
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from pixelwise.checks import checked
from pixelwise.errors import UnknownName, UserError, nearest
from pixelwise.files import whole_files
from pixelwise.kinds import Count, Positive
from pixelwise.overrides import mode_of
from pixelwise.protocols import ERODED
from pixelwise.runs.checkpoints import file_of
from pixelwise.types import Batch

log = logging.getLogger(__name__)


@checked
class Checkpoint(L.Callback):
    """Write `checkpoints/best.ckpt` (weights only) and `last.ckpt`, `previous.ckpt` (full state).

    The state is saved between two optimizer steps, after logging and validation: at the start of each epoch
    except the first, at the end of training and, if configured, within epochs.

    Args:
        monitor: the logged score that selects the best epoch.
        mode: "max" or "min".
        every_n_steps: optimizer steps between two checkpoints within an epoch; None for no such checkpoints.
        every_n_minutes: minutes between two checkpoints within an epoch; None for no such checkpoints.

    Raises:
        UserError: an argument is invalid, or the monitored score is not logged.
    """

    def __init__(
        self,
        monitor: str,
        mode: Literal["max", "min"],
        every_n_steps: Count | None = None,
        every_n_minutes: Positive | None = 10,
    ) -> None:
        self.monitor = monitor
        self.mode = mode
        self.better = operator.gt if mode == "max" else operator.lt
        self.best = math.nan
        self.best_epoch = -1
        self.every_n_steps = every_n_steps
        self.seconds = every_n_minutes and 60 * every_n_minutes
        self._saved_step = 0
        self._saved_at = 0.0

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Mark the initial state as saved."""
        self._saved_step, self._saved_at = trainer.global_step, time.monotonic()

    def on_train_batch_start(
        self, trainer: L.Trainer, module: L.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Save the state before this batch if a checkpoint is due."""
        if between_steps(trainer, batch_idx) and self._due(trainer, batch_idx):
            self._save(trainer)

    def _due(self, trainer: L.Trainer, batch_idx: int) -> bool:
        step = trainer.global_step
        if step == self._saved_step:
            return False
        if batch_idx == 0 or (self.every_n_steps and step % self.every_n_steps == 0):
            return True
        if self.seconds is None:
            return False
        due = time.monotonic() - self._saved_at > self.seconds
        return trainer.strategy.reduce_boolean_decision(due, all=False)

    def _save(self, trainer: L.Trainer) -> None:
        save_last(trainer)
        self._saved_step, self._saved_at = trainer.global_step, time.monotonic()

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Save the weights if their score is better than all before; every score is better than NaN."""
        if trainer.state.fn != "fit":
            return
        self._check_monitor(trainer.callback_metrics)
        score = float(trainer.callback_metrics[self.monitor])
        first = math.isnan(self.best) and not math.isnan(score)  # comparisons with NaN are always false
        if self.best_epoch < 0 or first or self.better(score, self.best):
            self.best, self.best_epoch = score, trainer.current_epoch
            trainer.save_checkpoint(path(trainer, "best"), weights_only=True)

    def on_fit_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Refuse a score that will not be logged, unless the user's own scores or callbacks might log it."""
        built = cast(Any, module)
        if names := known_scores(built, cast(Any, trainer).callbacks):
            self._check_monitor(names)
            if self.mode == "min" and built.scores["val"].higher_is_better and mode_of(self.monitor) == "max":
                raise UserError(
                    f"task.mode=min contradicts task.monitor={self.monitor}: the largest score is the best",
                    expected="max",
                    fix="leave task.mode out of the command",
                )

    def _check_monitor(self, logged: Iterable[str]) -> None:
        check_monitor("task.monitor", self.monitor, [name for name in logged if name.startswith("val/")])

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Save the final state, from which a longer run can resume."""
        self._save(trainer)

    def state_dict(self) -> dict[str, Any]:
        """Return the best score so far, for a resumed run."""
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the best score so far."""
        self.best, self.best_epoch = state["best"], state["best_epoch"]


def known_scores(module: Any, callbacks: Iterable[L.Callback]) -> list[str]:
    """Names of all validation scores; empty if the user's own scores or callbacks might log others."""
    packages = {type(callback).__module__.split(".")[0] for callback in callbacks}
    return own_scores(module) if packages <= {"pixelwise", "lightning"} else []


def own_scores(module: Any) -> list[str]:
    """Names of the validation scores that the module logs; empty if its scores do not name themselves."""
    names = getattr(module.scores["val"], "names", None)
    if names is None:
        return []
    parts = [f"loss/{part}" for loss in module.losses for part in loss.parts]
    eroded = [f"{ERODED}/{name}" for name in names()]
    losses = [f"val/{name}" for name in ("loss", *parts)]
    return losses + [module.evaluated.score_name("val", name) for name in (*names(), *eroded)]


def check_monitor(key: str, monitor: str, scores: Sequence[str]) -> None:
    """Refuse a monitored score that is not logged.

    Args:
        key: the config key, for the message.
        monitor: the value of the key.
        scores: names of the logged scores.

    Raises:
        UnknownName: the score is not among them.
    """
    if monitor not in scores:
        raise UnknownName(
            f"{key}: {monitor!r} is not among the validation scores",
            expected="one of " + ", ".join(nearest(monitor, scores) or scores),
        )


class WholeFile(TorchCheckpointIO):
    """Writes checkpoints atomically: a file is complete or does not exist."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write to a temporary file, flush it to the disk, then rename it."""
        file = Path(path)
        with whole_files(file, [""]) as part, part[""].open("wb") as stream:
            torch.save(checkpoint, stream)
            stream.flush()
            os.fsync(stream.fileno())


def between_steps(trainer: L.Trainer, batch_idx: int) -> bool:
    """Return whether no gradients are accumulated: a checkpoint does not store them."""
    return batch_idx % trainer.accumulate_grad_batches == 0


def path(trainer: L.Trainer, name: str) -> Path:
    """Return the path of a checkpoint of the run."""
    return file_of(Path(trainer.default_root_dir), name)


def save_last(trainer: L.Trainer) -> None:
    """Write the logged rows and the full state to `last.ckpt`; the old file becomes `previous.ckpt`."""
    for logger in trainer.loggers:
        logger.save()
    last = path(trainer, "last")
    fresh = path(trainer, "fresh")
    trainer.save_checkpoint(fresh)
    if trainer.is_global_zero:
        if last.is_file():
            last.replace(path(trainer, "previous"))
        fresh.replace(last)
