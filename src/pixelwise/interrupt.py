"""Ctrl-C and SIGTERM while training: save, say so, leave with the status that the shell expects."""

from __future__ import annotations

import logging
import os
import signal
from types import FrameType
from typing import Any

import lightning as L

from pixelwise.checkpoint import save_last
from pixelwise.types import Batch

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopOnSignal(L.Callback):
    """The first signal ends training after the current step, with a checkpoint; the second at once.

    The exit status is 130 after Ctrl-C and 143 after SIGTERM.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._previous: dict[int, Any] = {}

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Listen from the first step on."""
        self._previous = {number: signal.signal(number, self._note) for number in SIGNALS}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._received is not None:
            os._exit(128 + number)
        self._received = number
        log.info("%s: stopping after this step; once more leaves at once", signal.Signals(number).name)

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Between two steps the state is whole: save it and leave."""
        if self._received is not None:
            save_last(trainer)
            log.info("stopped at step %d; saved in %s", trainer.global_step, trainer.default_root_dir)
            raise SystemExit(128 + self._received)

    def teardown(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        """Give the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
