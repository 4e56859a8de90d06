"""Loading an encoder's weights from a file, saying what matched."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from pixelwise.errors import UserError

log = logging.getLogger(__name__)

CONTAINERS = ("state_dict_ema", "state_dict", "model")
"""Where training scripts keep the weights inside a checkpoint, in the order of preference."""


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The named tensors of a `.safetensors` file or a checkpoint; nothing in it is executed."""
    if not path.is_file():
        raise UserError(
            f"encoder.weights: {path} is not a file", expected="a .ckpt, .pth or .safetensors file"
        )
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each format has its own exceptions; all mean the same here
        raise UserError(f"encoder.weights: {path} cannot be read", found=error) from error
    for name in CONTAINERS:
        if isinstance(checkpoint.get(name), dict):
            return checkpoint[name]
    return checkpoint


def load_encoder_weights(encoder: nn.Module, path: Path) -> None:
    """Copy the tensors that fit by name and shape into the encoder; refuse when none does.

    Names are tried as they stand and below `model.encoder.`, where this project's checkpoints have
    them; and as timm writes a whole model, whose nested names `features_only` flattens.
    """
    own = encoder.state_dict()
    found = {}
    for name, tensor in read_state_dict(path).items():
        name = name.removeprefix("module.").removeprefix("model.encoder.")
        for candidate in (name, f"body.{name}", "body." + name.replace(".", "_", 1)):
            if candidate in own and own[candidate].shape == tensor.shape:
                found[candidate] = tensor
                break
    missing = [name for name in own if name not in found and not name.endswith("num_batches_tracked")]
    if not found:
        raise UserError(
            f"encoder.weights: nothing in {path} fits this encoder",
            expected=f"tensors such as {next(iter(own))!r}",
            fix="encoder.name must be the model that the weights were trained with",
        )
    encoder.load_state_dict(found, strict=False)
    log.info("encoder weights: %d tensors from %s, %d kept as initialised", len(found), path, len(missing))
    if missing:
        log.warning("encoder weights not in the file: %s", ", ".join(missing[:8]) + " …" * (len(missing) > 8))
