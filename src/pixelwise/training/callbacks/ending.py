"""Why a training ended before its plan was complete, and how a resumed run goes on as if it had not ended.

A stop within an epoch adds a validation, and rows to the logs, that an unbroken run does not have. They count
for the run that ended; a run that goes on takes them back.
"""

from __future__ import annotations

import copy
import filecmp
import shutil
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, cast

import lightning as L
from lightning.pytorch.callbacks import EarlyStopping, Timer
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason
from lightning.pytorch.trainer.states import RunningStage

from pixelwise import runs
from pixelwise.errors import counted
from pixelwise.files import whole_file
from pixelwise.runs.checkpoints import file_of
from pixelwise.schedules.schedule import Plan
from pixelwise.training.loggers.metrics_csv import MetricsCSVLogger
from pixelwise.training.module import Module


class EarlyEnd(NamedTuple):
    """Why a training ended before its plan was complete.

    Attributes:
        key: the config key that ended it; the run goes on once its value changes.
        why: one sentence part, such as "trainer.max_steps=50 reached at step 50 of 400".
        fix: an override with which the run goes on.
    """

    key: str
    why: str
    fix: str


class MaxTime(Timer):
    """Lightning's timer for `trainer.max_time`, which stops between two optimizer steps only.

    The time of earlier starts of the run counts.
    """

    def __init__(self, duration: timedelta) -> None:
        super().__init__(duration, verbose=False)
        self.seconds = duration.total_seconds()
        self.reached = False
        self._step = -1

    def is_over(self, state: Mapping[str, Any] | None) -> bool:
        """Whether the time was used up when a state was saved; None for no earlier start."""
        return state is not None and state["time_elapsed"][RunningStage.TRAINING.value] >= self.seconds

    def on_fit_start(self, trainer: L.Trainer, *_: Any, **__: Any) -> None:
        """Do not start if the time was used up before."""
        self._stop_if_reached(trainer)
        self._step = trainer.global_step

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any, **__: Any) -> None:
        """Stop after an optimizer step, in all processes at the same one."""
        if trainer.global_step > self._step:
            self._step = trainer.global_step
            self._stop_if_reached(trainer)

    def _stop_if_reached(self, trainer: L.Trainer) -> None:
        late = self.time_elapsed() >= self.seconds
        self.reached = trainer.strategy.reduce_boolean_decision(late, all=False)
        trainer.should_stop = trainer.should_stop or self.reached


class Ending(L.Callback):
    """Record why the training ended early; on resuming, end at once or go on, as the config says now.

    It must come after all callbacks that can stop the training.

    Args:
        plan: the phases of the training.
        limit: "max_epochs" or "max_steps", whichever ends the training first; None if the plan does.
        stopping: the callbacks for early stopping, by config key.
    """

    def __init__(self, plan: Plan, limit: str | None, stopping: Mapping[str, EarlyStopping]) -> None:
        self.plan = plan
        self.limit = limit
        self.stopping = stopping
        self.early: EarlyEnd | None = None
        self._before: dict[str, Any] | None = None
        self._goes_on = False
        self._cause: EarlyEnd | None = None

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Forget the state before a stop that `trainer.min_epochs` or `min_steps` overruled."""
        self._before = self._cause = None

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Keep the state before the validation that Lightning adds if it stops within an epoch."""
        if trainer.should_stop and not validates(trainer, self.plan, trainer.global_step):
            states = {callback.state_key: callback.state_dict() for callback in _callbacks(trainer)}
            self._before, self._cause = copy.deepcopy(states), self._reason(trainer)

    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Keep the best weights before an added validation."""
        best, kept = _best(trainer)
        if self._is_added(trainer) and best.is_file():
            with whole_file(kept) as part:
                shutil.copyfile(best, part)

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Delete the copy if the best weights are still the same."""
        best, kept = _best(trainer)
        if self._is_added(trainer) and kept.is_file() and filecmp.cmp(best, kept, shallow=False):
            kept.unlink()

    def _is_added(self, trainer: L.Trainer) -> bool:
        return trainer.state.fn == "fit" and self._before is not None and trainer.is_global_zero

    def on_save_checkpoint(
        self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the reason of the end, and the state before the added validation."""
        early = self._reason(trainer)
        checkpoint["early_end"] = early and early._asdict()
        checkpoint["callbacks_before_stop"] = self._before

    def on_load_checkpoint(
        self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Go on if the value of the key that ended the run has changed, else stop again."""
        if given := checkpoint.get("early_end"):
            self.early = EarlyEnd(**given)
            then, now = (
                _value(c, self.early.key) for c in (checkpoint["config"], cast(Module, module).config)
            )
            before = checkpoint["callbacks"] | (checkpoint["callbacks_before_stop"] or {})
            if then != now and not self._is_spent(trainer, before):
                self.early = None
                checkpoint["callbacks"] = before
                self._goes_on = True
        states = checkpoint["callbacks"]
        trainer.should_stop = self.early is not None or self._is_spent(trainer, states)
        for callback in self.stopping.values():
            if state := states.get(callback.state_key):
                state["patience"] = callback.patience  # Lightning would restore the earlier one
                if _is_exhausted(callback, state):
                    state["stopping_reason"] = EarlyStoppingReason.PATIENCE_EXHAUSTED.value
                elif self.early is None:
                    state["stopping_reason"] = EarlyStoppingReason.NOT_STOPPED.value

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Take back what the stop has added, when the loggers have read the rows of the run."""
        if self._goes_on:
            self._take_back(trainer, trainer.global_step)

    def _is_spent(self, trainer: L.Trainer, states: Mapping[str, Any]) -> bool:
        """Whether the patience or the time, which may have become less, is used up in these states."""
        timers = [callback for callback in _callbacks(trainer) if isinstance(callback, MaxTime)]
        late = any(timer.is_over(states.get(timer.state_key)) for timer in timers)
        return late or any(_is_exhausted(c, states.get(c.state_key)) for c in self.stopping.values())

    def on_fit_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Write the reason of an early end to the run folder."""
        self.early = self._reason(trainer) or (self.early if trainer.should_stop else None)
        if self.early is not None and trainer.is_global_zero:
            runs.add_to_environment(Path(trainer.default_root_dir), early_end=self.early._asdict())

    def _reason(self, trainer: L.Trainer) -> EarlyEnd | None:
        """The reason of the end; None while training goes on, and after a complete plan."""
        step, steps = trainer.global_step, self.plan.steps
        if self._cause is not None:  # not what the added validation makes of it
            return self._cause
        if step >= steps or not (trainer.should_stop or step >= trainer.max_steps):
            return None
        at = f"at step {step} of {steps}"
        for key, callback in self.stopping.items():
            if callback.stopping_reason == EarlyStoppingReason.PATIENCE_EXHAUSTED:
                why = f"{callback.monitor} did not improve in {counted(callback.wait_count, 'validation')}"
                return EarlyEnd(key, f"{key}: {why}, {at}", f"{key}.patience={2 * callback.wait_count}")
            if callback.stopping_reason != EarlyStoppingReason.NOT_STOPPED:
                why = str(callback.stopping_reason_message).removesuffix(" Signaling Trainer to stop.")
                return EarlyEnd(key, f"{key}: {why} ({at})", f"{key}=null")
        if any(isinstance(callback, MaxTime) and callback.reached for callback in _callbacks(trainer)):
            return EarlyEnd("trainer.max_time", f"trainer.max_time reached {at}", "trainer.max_time=null")
        if self.limit is not None and step >= trainer.max_steps:
            key = f"trainer.{self.limit}"
            return EarlyEnd(key, f"{key} reached {at}", f"{key}=null")
        return EarlyEnd("callbacks", f"a callback stopped the training {at}", "callbacks.NAME=null")

    def _take_back(self, trainer: L.Trainer, step: int) -> None:
        """Remove what the stop at a step has added to an unbroken run: rows of the logs, the best weights."""
        for logger in trainer.loggers:
            if isinstance(logger, MetricsCSVLogger):
                if step % cast(Any, trainer).log_every_n_steps:
                    logger.remove(step - 1, "train/")
                if not validates(trainer, self.plan, step):
                    logger.remove(step - 1, "val/")
        best, kept = _best(trainer)
        if trainer.is_global_zero and kept.is_file():
            kept.replace(best)


def _best(trainer: L.Trainer) -> tuple[Path, Path]:
    """The file of the best weights, and the file that keeps those before a validation added by a stop."""
    folder = Path(trainer.default_root_dir)
    return file_of(folder, "best"), file_of(folder, "best_before_stop")


def _callbacks(trainer: L.Trainer) -> Iterable[L.Callback]:
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return callbacks


def _is_exhausted(callback: EarlyStopping, state: Mapping[str, Any] | None) -> bool:
    return state is not None and state["wait_count"] >= max(1, callback.patience)


def _value(config: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key; None if it does not exist."""
    value: Any = config
    for name in key.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def validates(trainer: L.Trainer, plan: Plan, step: int) -> bool:
    """Whether an unbroken run validates after a number of optimizer steps."""
    epoch, batch = plan.position(step)
    if batch == 0:  # after the last batch of the epoch before
        epoch, batch = epoch - 1, plan.batches_per_epoch
    every = trainer.check_val_every_n_epoch
    if every is None:
        return (epoch * plan.batches_per_epoch + batch) % trainer.val_check_interval == 0
    share = trainer.val_check_interval
    between = share if isinstance(share, int) else max(1, int(plan.batches_per_epoch * share))
    return (epoch + 1) % every == 0 and batch % between == 0
