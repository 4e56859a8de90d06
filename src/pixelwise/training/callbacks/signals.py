"""Ctrl-C and SIGTERM during training: save a checkpoint and exit with the usual status."""

from __future__ import annotations

import logging
import os
import signal
from types import FrameType
from typing import Any

import lightning as L

from pixelwise.runtime.processes import SIGNALS
from pixelwise.training.callbacks.checkpoint import between_steps, save_last
from pixelwise.types import Batch

log = logging.getLogger(__name__)


class StopOnSignal(L.Callback):
    """The first signal stops the training after the current step, with a checkpoint; the second at once.

    The exit status is 130 after Ctrl-C and 143 after SIGTERM.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._previous: dict[int, Any] = {}

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Install the signal handlers."""
        self._previous = {number: signal.signal(number, self._note) for number in SIGNALS}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._received is not None:
            os._exit(128 + number)
        self._received = number
        log.info("%s: stopping after this step; a second signal stops at once", signal.Signals(number).name)

    def on_train_batch_start(
        self, trainer: L.Trainer, module: L.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Between two steps, save the state and exit, in all processes at the same step."""
        received = trainer.strategy.reduce_boolean_decision(self._received is not None, all=False)
        if received and between_steps(trainer, batch_idx):
            save_last(trainer)
            self._leave(trainer)

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Exit after the last step, which was saved; a resumed run computes the final scores."""
        if trainer.strategy.reduce_boolean_decision(self._received is not None, all=False):
            self._leave(trainer)

    def _leave(self, trainer: L.Trainer) -> None:
        log.info("stopped at step %d", trainer.global_step)
        raise SystemExit(128 + (self._received or signal.SIGTERM))

    def teardown(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        """Restore the previous signal handlers."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
