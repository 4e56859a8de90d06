"""Progress of a training: one log line per epoch with speed, wait for data, memory and time left."""

from __future__ import annotations

import logging
import resource
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import RichProgressBar

from pixelwise.files import read_cells, write_rows
from pixelwise.runs import records
from pixelwise.training.loggers.metrics_csv import MetricsCSVLogger
from pixelwise.types import Batch

log = logging.getLogger(__name__)

SPEED = ("images_per_s", "waiting", "memory_gb")
"""Values that are logged after each epoch, under names like `speed/waiting`."""


class EpochBar(RichProgressBar):
    """Lightning's progress bar, with epochs counted from 1 as in the log lines."""

    def _get_train_description(self, current_epoch: int) -> str:
        return f"Epoch {current_epoch + 1}/{self.trainer.max_epochs}".ljust(len(self.validation_description))


class Throughput(L.Callback):
    """Measure steps/s, images/s and the share of time spent waiting for data; log them after each epoch.

    They are written to `speed.csv`, one row per epoch, and not to `metrics.csv`, which is equal for equal
    runs.

    Args:
        monitor: the score in the log line of an epoch, after the losses.
    """

    def __init__(self, monitor: str) -> None:
        self.shown = ("val/loss", monitor)
        self._reset(step=0)
        self._begin, self._first_step = self._since, 0

    def _reset(self, step: int) -> None:
        self._steps_before = step
        self._images = 0
        self._waiting = self._working = 0.0
        self._loss: torch.Tensor | float = 0.0
        self._batches = 0
        self._since = self._epoch_began = time.perf_counter()

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Start the clock for the time left, so that a resumed run ignores the time before it."""
        self._reset(trainer.global_step)  # a run resumed within an epoch has no `on_train_epoch_start`
        self._begin, self._first_step = self._since, trainer.global_step

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Reset the counters, which excludes the time of the validation."""
        self._reset(trainer.global_step)

    def on_train_batch_start(
        self, trainer: L.Trainer, module: L.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Count the time since the last step as waiting for data."""
        now = time.perf_counter()
        self._waiting += now - self._since
        self._since = now

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count the time since the batch arrived as work."""
        now = time.perf_counter()
        self._working += now - self._since
        self._since = now
        self._images += len(batch["valid"]) * trainer.world_size
        self._loss = self._loss + trainer.callback_metrics["train/loss"]  # stays on the device
        self._batches += 1
        module.log("images/s", self.speed, prog_bar=True, logger=False)  # times would make metrics.csv differ

    @property
    def speed(self) -> float:
        """Training images per second in this epoch."""
        return self._images / max(self._waiting + self._working, 1e-9)

    @property
    def wait(self) -> float:
        """Share of the training time of this epoch that was spent waiting for data."""
        return self._waiting / max(self._waiting + self._working, 1e-9)

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Log one line about the epoch, with the mean of the training loss over its batches."""
        done = trainer.global_step - self._first_step
        left = trainer.max_steps - trainer.global_step
        seconds = (time.perf_counter() - self._begin) / max(done, 1) * left
        scores = {"train/loss": float(self._loss) / max(self._batches, 1)}
        scores |= {
            name: float(trainer.callback_metrics[name])
            for name in self.shown
            if name in trainer.callback_metrics
        }
        log.info(
            "epoch %d/%d  %s  %.3g steps/s  %.0f images/s  %.0f %% waiting for data  %.1f GB  %s left",
            trainer.current_epoch + 1,
            trainer.max_epochs,
            "  ".join(f"{name} {score:.4f}" for name, score in scores.items()),
            (trainer.global_step - self._steps_before) / max(self._waiting + self._working, 1e-9),
            self.speed,
            100 * self.wait,
            peak_memory() / 1e9,
            timedelta(seconds=round(seconds)),
        )
        self._write(trainer)

    def _write(self, trainer: L.Trainer) -> None:
        """Add a row to `speed.csv` (seconds include validation); log the speed to the other loggers."""
        speed = dict(zip(SPEED, (self.speed, self.wait, peak_memory() / 1e9), strict=True))
        for logger in trainer.loggers:
            if not isinstance(logger, MetricsCSVLogger):
                metrics = {f"speed/{name}": value for name, value in speed.items()}
                logger.log_metrics(metrics, step=trainer.global_step)
        if trainer.is_global_zero:
            seconds = time.perf_counter() - self._epoch_began
            row = {"epoch": trainer.current_epoch, "step": trainer.global_step, "seconds": seconds, **speed}
            file = Path(trainer.default_root_dir) / "speed.csv"
            kept = records.tolerant(lambda: read_cells(file)) if file.is_file() else None
            written = kept or [list(row)]
            cells = (f"{value:.4g}" if isinstance(value, float) else value for value in row.values())
            write_rows(file, [*written, cells])


def peak_memory() -> int:
    """Return the peak memory in bytes: allocated on the GPU if there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
