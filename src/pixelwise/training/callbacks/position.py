"""Exact resumption: the position in the training and the random numbers depend only on the number of steps.

Lightning saves about thirty loop counters in a checkpoint and interprets them depending on the hook in which
they were saved. Here the counters are computed from the number of optimizer steps when a checkpoint is
loaded. No state of a random number generator is saved either: the generators are seeded before each batch, as
in frameworks with explicit random keys, so that earlier work does not affect them.
"""

from __future__ import annotations

import random
from typing import Any

import lightning as L
import numpy as np
import torch

from pixelwise.schedules.schedule import Plan
from pixelwise.types import Batch


class ExactResume(L.Callback):
    """Resume exactly where a checkpoint was saved, between any two optimizer steps.

    Args:
        plan: the phases of the training.
        seed: the seed of the run.
    """

    def __init__(self, plan: Plan, seed: int) -> None:
        self.plan = plan
        self.seed = seed

    def on_load_checkpoint(
        self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Replace the saved counters by those computed from the number of steps."""
        step = checkpoint["global_step"]
        epoch, batch = self.plan.position(step)
        loop = checkpoint["loops"]["fit_loop"]
        counters = {name: counts for name, counts in loop.items() if "val_loop" not in name}
        checkpoint["loops"]["fit_loop"] = counters | {
            "state_dict": {"combined_loader": [{"epoch": epoch, "batches_consumed": batch}]},
            "epoch_progress": _progress(epoch, epoch, begun=batch > 0),
            "epoch_loop.batch_progress": _progress(epoch * self.plan.batches_per_epoch + batch, batch)
            | {"is_last_batch": False},
        }

    def on_train_batch_start(
        self, trainer: L.Trainer, module: L.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Seed the random number generators for this batch; set the step of logged values."""
        reseed(self.seed, trainer.current_epoch, batch_idx, trainer.global_rank)
        # Lightning counts a step twice if a run is resumed at the start of an epoch
        trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step


def reseed(*numbers: int) -> None:
    """Seed the global generators of Python, NumPy and torch (on all devices) from integers."""
    first, second = np.random.SeedSequence(numbers).generate_state(2, np.uint32).tolist()
    random.seed(first)
    np.random.seed(first)  # noqa: NPY002 libraries use it
    torch.manual_seed(first << 32 | second)


def _progress(total: int, current: int, begun: bool = False) -> dict[str, Any]:
    """Return Lightning's counters of completed units; `begun` if one more has started."""

    def counts(done: int) -> dict[str, int]:
        return {"ready": done + begun, "started": done + begun, "processed": done, "completed": done}

    return {"total": counts(total), "current": counts(current)}
