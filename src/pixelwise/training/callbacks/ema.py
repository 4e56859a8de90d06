"""A moving average of the weights: what is evaluated and saved, with the weights themselves beside it."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from pixelwise import checks


class EMA(WeightAveraging):
    """Exponential moving average of weights and batch-norm statistics, after every optimizer step.

    Lightning's callback with PyTorch's average (Polyak & Juditsky, SIAM J. Control Optim. 30, 1992). While
    training, validation sees the average; every checkpoint holds it as its weights, from which `evaluate.py`,
    `predict.py`, `export.py` and `encoder.weights` go on, and the weights themselves beside it, with which a
    resumed run goes on.

    Three things differ from Lightning's. The decay grows with the step t as min(decay, (1 + t) / (10 + t)),
    as in TensorFlow's `ExponentialMovingAverage`: a short run would be an average of its first weights. What
    is scored after training is what was loaded, not the last average in its place. The state at the end of
    training holds both, like any other.

    Args:
        decay: of the average, which goes back over about 1 / (1 - decay) steps.

    Raises:
        UserError: the decay is out of range.
    """

    def __init__(self, decay: float = 0.999) -> None:
        super().__init__(multi_avg_fn=self._move)
        self.decay = checks.number("callbacks.ema.decay", decay, 0, below=1)
        self._decay = 0.0

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """After every step, never at the end of an epoch; sets the decay of this step."""
        if step_idx is not None:
            self._decay = min(self.decay, (1 + step_idx) / (10 + step_idx))
        return step_idx is not None

    def _move(self, averages: Any, weights: Any, count: Tensor | int) -> None:
        """Move the averages towards the weights; where both are equal, not by a bit."""
        get_ema_multi_avg_fn(self._decay)(averages, weights, count)

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put the average in the place of the weights, while training."""
        if trainer.state.fn == "fit":
            super().on_validation_epoch_start(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put the weights back."""
        if trainer.state.fn == "fit":
            super().on_validation_epoch_end(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the weights as they are, for the checkpoint that is made now."""
