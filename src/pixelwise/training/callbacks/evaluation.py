"""Validation and test as one, for callbacks that look at evaluations."""

from __future__ import annotations

from typing import Any

import lightning as L
from torch import Tensor

from pixelwise.data.loader import EvaluationLoader
from pixelwise.training.module import Module
from pixelwise.types import Batch


class EvaluationCallback(L.Callback):
    """Is told of each evaluation's batches and of its end, and of which split it is."""

    def on_evaluation_batch(
        self, trainer: L.Trainer, module: Module, split: str, logits: Tensor, batch: Batch, index: int
    ) -> None:
        """The module answered a batch of "val" or "test"."""

    def on_evaluation_end(self, trainer: L.Trainer, module: Module, split: str) -> None:
        """The module answered all of them."""

    def on_validation_batch_end(
        self, trainer: L.Trainer, module: Any, outputs: Any, batch: Batch, batch_idx: int, *_: int
    ) -> None:
        """One of "val"."""
        self.on_evaluation_batch(trainer, module, "val", outputs["logits"], batch, batch_idx)

    def on_test_batch_end(
        self, trainer: L.Trainer, module: Any, outputs: Any, batch: Batch, batch_idx: int, *_: int
    ) -> None:
        """One of "test"."""
        self.on_evaluation_batch(trainer, module, "test", outputs["logits"], batch, batch_idx)

    def on_validation_end(self, trainer: L.Trainer, module: Any) -> None:
        """That of "val"."""
        self.on_evaluation_end(trainer, module, "val")

    def on_test_end(self, trainer: L.Trainer, module: Any) -> None:
        """That of "test"."""
        self.on_evaluation_end(trainer, module, "test")


def loader_of(trainer: L.Trainer, split: str) -> EvaluationLoader:
    """The loader that "val" or "test" was evaluated with."""
    return trainer.test_dataloaders if split == "test" else trainer.val_dataloaders  # type: ignore[return-value]


def batches_of(trainer: L.Trainer, split: str) -> int:
    """How many batches of it are evaluated; `trainer.limit_val_batches` and the like count."""
    return int(sum(trainer.num_test_batches if split == "test" else trainer.num_val_batches))
