"""Finding and loading the checkpoint files of a run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixelwise.errors import UserError, some
from pixelwise.models import Composition

log = logging.getLogger(__name__)

OF_TRAINING = ("auxiliary.", "encoder.neck.")
"""Prefixes of weights that a model for evaluation may lack."""


def file_of(folder: Path, name: str) -> Path:
    """Path of a checkpoint in a run folder."""
    return folder / "checkpoints" / f"{name}.ckpt"


def newest(folder: Path) -> Path | None:
    """Path of the newest undamaged checkpoint of a run folder, or None if there is none yet.

    Raises:
        UserError: there are checkpoints, but all of them are damaged.
    """
    damaged: list[UserError] = []
    for name in ("last", "previous"):
        file = file_of(folder, name)
        if not file.is_file():
            continue
        try:
            read(file)
        except UserError as error:
            log.warning("%s", error)
            damaged.append(error)
        else:
            return file
    if damaged:
        raise damaged[0]
    return None


def read(file: Path) -> dict[str, Any]:
    """Read the content of a checkpoint without executing code from the file.

    Raises:
        UserError: the file is missing or damaged.
    """
    if not file.is_file():
        raise UserError(
            f"{file} does not exist", expected="a checkpoint of a run that completed one validation"
        )
    try:
        checkpoint: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        for weights in (checkpoint["state_dict"], checkpoint.get("current_model_state", {})):
            if not all(isinstance(tensor, Tensor) for tensor in weights.values()):
                raise TypeError("weights that are not tensors")
    except Exception as error:  # damaged files raise errors of many types
        raise UserError(
            f"{file} cannot be read as a checkpoint",
            found=str(error).splitlines()[0] if str(error) else type(error).__name__,
            fix="use other weights: checkpoint=last or checkpoint=previous",
        ) from error
    return checkpoint


def load_model(
    model: Composition, file: Path, averaged: bool = True, must_be_finite: bool = False
) -> Composition:
    """Load the weights of a checkpoint file into a model and return the model.

    Args:
        model: the model.
        file: the checkpoint.
        averaged: whether to use the moving average of the weights, if the run has one.
        must_be_finite: whether to refuse weights that are NaN or infinite; otherwise they are logged.

    Raises:
        UserError: the weights do not fit the model, or `averaged` is false and the run kept no average.
    """
    state = read(file)
    if not averaged and "current_model_state" not in state:
        raise UserError(
            f"averaged=false: {file} holds one set of weights only", expected="a run with callbacks=ema"
        )
    weights = model_weights(state, averaged)
    fill(model, weights, file)
    try:
        check_finite(weights, file)
    except UserError as error:
        if must_be_finite:
            raise
        log.warning("%s", error)
    return model


def check_finite(weights: Mapping[str, Tensor], file: Path) -> None:
    """Refuse weights that are NaN or infinite, whose predictions mean nothing.

    Raises:
        UserError: the first of them, with the file.
    """
    broken = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise UserError(
            f"{file}: some weights are NaN or infinite",
            found=some(broken, 3),
            expected="finite numbers",
            fix="other weights: checkpoint=best, last or previous; or train again with a lower optimizer.lr",
        )


def model_weights(state: Mapping[str, Any], averaged: bool = True) -> dict[str, Tensor]:
    """The weights of the model in the content of a checkpoint.

    If the run kept a moving average, the checkpoint holds both: the average, which the scores belong to, and
    the weights that were trained.
    """
    return {
        name.removeprefix("model."): tensor
        for name, tensor in state["state_dict" if averaged else "current_model_state"].items()
        if name.startswith("model.")
    }


def fill(model: Composition, weights: Mapping[str, Tensor], file: Path) -> None:
    """Load weights that were read from a file into a model.

    A model without the auxiliary heads of the training leaves out their weights, and levels of the neck that
    only they read.

    Raises:
        UserError: the weights do not fit the model.
    """
    own = model.state_dict().keys()
    try:
        model.load_state_dict({n: w for n, w in weights.items() if n in own or not n.startswith(OF_TRAINING)})
    except RuntimeError as error:
        reasons = [line.strip() for line in str(error).splitlines()[1:4]]
        raise UserError(
            f"{file} does not fit the model that the config describes",
            found="; ".join(reasons),
            fix="keep the encoder, decoder, classes and channels that the run was trained with; "
            "a run folder of another version needs the commit in its environment.json",
        ) from error
