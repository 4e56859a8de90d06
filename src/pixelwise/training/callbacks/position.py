"""Where a run stands follows from the number of its steps alone, and so do its random numbers.

Lightning keeps some thirty counters of its loops in a checkpoint, and reads them differently depending
on the hook in which they were saved. Here they are derived from the one number that matters, when a
checkpoint is loaded. Likewise no state of a random number generator is saved: each batch starts from
numbers of its own, as in frameworks with explicit random keys, whatever ran before and on however many
processes.
"""

from __future__ import annotations

import random
from typing import Any

import lightning as L
import numpy as np
import torch

from pixelwise.schedules.schedule import Plan
from pixelwise.types import Batch


class Position(L.Callback):
    """Resume exactly where a checkpoint was made, between any two optimizer steps.

    Args:
        plan: of the whole training.
        seed: of the whole run.
    """

    def __init__(self, plan: Plan, seed: int) -> None:
        self.plan = plan
        self.seed = seed

    def on_load_checkpoint(
        self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Replace the saved counters by what the number of steps says."""
        step = checkpoint["global_step"]
        epoch, batch = self.plan.position(step)
        loop = checkpoint["loops"]["fit_loop"]
        kept = {name: counts for name, counts in loop.items() if "val_loop" not in name}
        checkpoint["loops"]["fit_loop"] = kept | {
            "state_dict": {"combined_loader": [{"epoch": epoch, "batches_consumed": batch}]},
            "epoch_progress": _progress(epoch, epoch, begun=batch > 0),
            "epoch_loop.batch_progress": _progress(epoch * self.plan.batches_per_epoch + batch, batch)
            | {"is_last_batch": False},
        }

    def on_train_batch_start(
        self, trainer: L.Trainer, module: L.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Draw this batch's random numbers as in any other run; count logged steps as optimizer steps."""
        reseed(self.seed, trainer.current_epoch, batch_idx, trainer.global_rank)
        # counted twice by Lightning where a run is resumed at the start of an epoch
        trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step


def reseed(*numbers: int) -> None:
    """Set Python's, NumPy's and torch's global generators (those of all devices) from whole numbers."""
    first, second = np.random.SeedSequence(numbers).generate_state(2, np.uint32).tolist()
    random.seed(first)
    np.random.seed(first)  # noqa: NPY002 libraries draw from it
    torch.manual_seed(first << 32 | second)


def _progress(total: int, current: int, begun: bool = False) -> dict[str, Any]:
    """Lightning's counters of something done so many times, and perhaps begun once more."""

    def counts(done: int) -> dict[str, int]:
        return {"ready": done + begun, "started": done + begun, "processed": done, "completed": done}

    return {"total": counts(total), "current": counts(current)}
