"""Exponential moving average (EMA) of the weights; checkpoints hold the average and the raw weights."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from pixelwise.checks import checked
from pixelwise.kinds import Fraction


@checked
class EMA(WeightAveraging):
    """Exponential moving average of weights and batch-norm statistics, updated after every optimizer step.

    This is Lightning's callback with PyTorch's average (Polyak & Juditsky, SIAM J. Control Optim. 30, 1992).
    During training, validation uses the average. Every checkpoint stores the average as its weights, which
    `evaluate.py`, `predict.py`, `export.py` and `encoder.weights` load, and also the raw weights, from which
    a resumed run continues.

    Three things differ from Lightning's callback. The decay grows with the step t as
    min(decay, (1 + t) / (10 + t)), as in TensorFlow's `ExponentialMovingAverage`; otherwise the first weights
    would dominate the average of a short run. Evaluation after training uses the loaded weights, not the last
    average. The checkpoint at the end of training also stores both.

    Args:
        decay: decay of the average, which covers about the last 1 / (1 - decay) steps.

    Raises:
        UserError: the decay is out of range.
    """

    def __init__(self, decay: Fraction = 0.999) -> None:
        super().__init__(multi_avg_fn=self._move)
        self.decay = decay
        self._decay = 0.0

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Return True after every step and False at the end of an epoch; set the decay of the step."""
        if step_idx is not None:
            self._decay = min(self.decay, (1 + step_idx) / (10 + step_idx))
        return step_idx is not None

    def _move(self, averages: Any, weights: Any, count: Tensor | int) -> None:
        """Move the averages towards the weights; equal values stay exactly equal."""
        get_ema_multi_avg_fn(self._decay)(averages, weights, count)

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """During training, replace the weights by the average."""
        if trainer.state.fn == "fit":
            super().on_validation_epoch_start(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """During training, restore the weights."""
        if trainer.state.fn == "fit":
            super().on_validation_epoch_end(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the raw weights: the last checkpoint is written now. Lightning would replace them here."""
