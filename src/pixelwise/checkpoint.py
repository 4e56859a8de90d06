"""Which weights are kept: the best so far, the last, and the one before it."""

from __future__ import annotations

import logging
import math
import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from pixelwise.errors import UserError, nearest
from pixelwise.models import Composition

log = logging.getLogger(__name__)


class Checkpoint(L.Callback):
    """Write `checkpoints/best.ckpt` (weights) and `last.ckpt`, `previous.ckpt` (all of the state).

    Args:
        monitor: the logged score that chooses the best epoch.
        mode: "max" or "min".
    """

    def __init__(self, monitor: str, mode: str) -> None:
        self.monitor = monitor
        if mode not in ("max", "min"):
            raise UserError("task.mode", found=mode, expected="max or min")
        self.better = operator.gt if mode == "max" else operator.lt
        self.best = math.nan
        self.best_epoch = -1

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Keep the weights if they are the best yet; of equal ones, the first."""
        if trainer.state.fn != "fit":
            return
        if self.monitor not in trainer.callback_metrics:
            known = [name for name in trainer.callback_metrics if name.startswith("val/")]
            raise UserError(
                f"task.monitor: {self.monitor!r} is not among the validation scores",
                expected="one of " + ", ".join(nearest(self.monitor, known) or known),
            )
        score = float(trainer.callback_metrics[self.monitor])
        if self.best_epoch < 0 or self.better(score, self.best):
            self.best, self.best_epoch = score, trainer.current_epoch
            trainer.save_checkpoint(path(trainer, "best"), weights_only=True)

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Keep the state, and the one before it in case this one is damaged."""
        save_last(trainer)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to go on comparing."""
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the comparison."""
        self.best, self.best_epoch = state["best"], state["best_epoch"]


def path(trainer: L.Trainer, name: str) -> Path:
    """Where a checkpoint of the run lies."""
    return Path(trainer.default_root_dir) / "checkpoints" / f"{name}.ckpt"


def save_last(trainer: L.Trainer) -> None:
    """Write the whole state; the one written before becomes `previous`."""
    last = path(trainer, "last")
    if last.is_file():
        last.replace(path(trainer, "previous"))
    trainer.save_checkpoint(last)


def read(file: Path) -> dict[str, Any]:
    """A checkpoint's content; nothing in the file is executed.

    Raises:
        UserError: when the file is missing or damaged.
    """
    if not file.is_file():
        raise UserError(
            f"{file} does not exist", expected="a checkpoint of a run that got through one validation"
        )
    try:
        checkpoint: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        checkpoint["state_dict"]
    except Exception as error:  # truncated and foreign files fail in many ways
        raise UserError(
            f"{file} cannot be read as a checkpoint",
            found=error,
            fix="checkpoint=last or checkpoint=previous takes other weights",
        ) from error
    return checkpoint


def load_model(model: Composition, file: Path) -> Composition:
    """Put a checkpoint's weights into a model.

    Raises:
        UserError: when they are of another model than the config describes.
    """
    fill(model, model_weights(read(file)), file)
    return model


def model_weights(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The composition's weights in a checkpoint's content."""
    return {
        name.removeprefix("model."): tensor
        for name, tensor in state["state_dict"].items()
        if name.startswith("model.")
    }


def fill(model: Composition, weights: Mapping[str, Tensor], file: Path) -> None:
    """Put weights that were read from a file into a model.

    Raises:
        UserError: when they are of another model than the config describes.
    """
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reasons = [line.strip() for line in str(error).splitlines()[1:4]]
        raise UserError(
            f"{file} does not fit the model that the config describes",
            found="; ".join(reasons),
            fix="keep the encoder, decoder, classes and channels that the run was trained with",
        ) from error
