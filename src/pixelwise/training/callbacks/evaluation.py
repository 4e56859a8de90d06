"""A base class for callbacks that treat validation and test alike."""

from __future__ import annotations

from typing import Any

import lightning as L
import numpy as np
from torch import Tensor

from pixelwise.data.loader import EvaluationLoader
from pixelwise.inference import resized
from pixelwise.training.module import Module
from pixelwise.types import Batch


class EvaluationCallback(L.Callback):
    """Calls the same hooks for batches and ends of validation and test, with the name of the split."""

    def on_evaluation_batch(
        self, trainer: L.Trainer, module: Module, split: str, logits: Tensor, batch: Batch, index: int
    ) -> None:
        """Called after each batch of "val" or "test"."""

    def on_evaluation_end(self, trainer: L.Trainer, module: Module, split: str) -> None:
        """Called after all batches of "val" or "test"."""

    def on_validation_batch_end(
        self, trainer: L.Trainer, module: Any, outputs: Any, batch: Batch, batch_idx: int, *_: int
    ) -> None:
        """Call `on_evaluation_batch` for "val"."""
        self.on_evaluation_batch(trainer, module, "val", outputs["logits"], batch, batch_idx)

    def on_test_batch_end(
        self, trainer: L.Trainer, module: Any, outputs: Any, batch: Batch, batch_idx: int, *_: int
    ) -> None:
        """Call `on_evaluation_batch` for "test"."""
        self.on_evaluation_batch(trainer, module, "test", outputs["logits"], batch, batch_idx)

    def on_validation_end(self, trainer: L.Trainer, module: Any) -> None:
        """Call `on_evaluation_end` for "val"."""
        self.on_evaluation_end(trainer, module, "val")

    def on_test_end(self, trainer: L.Trainer, module: Any) -> None:
        """Call `on_evaluation_end` for "test"."""
        self.on_evaluation_end(trainer, module, "test")


def pixels_of(module: Module, image: Tensor, target: Tensor) -> np.ndarray:
    """Return normalised images (B, C, h, w) as (B, H, W, C) in [0, 1], at the size of their masks."""
    pixels = module.model.normalize.undo(image).float()
    pixels = resized(pixels, target.shape[-2:]) if target.ndim == 3 else pixels
    return pixels.cpu().permute(0, 2, 3, 1).numpy()


def loader_of(trainer: L.Trainer, split: str) -> EvaluationLoader:
    """Return the loader of "val" or "test"."""
    return trainer.test_dataloaders if split == "test" else trainer.val_dataloaders  # type: ignore[return-value]


def batches_of(trainer: L.Trainer, split: str) -> int:
    """Return the number of evaluated batches, after limits such as `trainer.limit_val_batches`."""
    return int(sum(trainer.num_test_batches if split == "test" else trainer.num_val_batches))
