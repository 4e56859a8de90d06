"""Where an encoder's weights come from: the hub, if it answers, or a file, saying what matched."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import huggingface_hub
import timm
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


def names_in_encoder(name: str) -> list[str]:
    """What a tensor of a whole timm model may be called in an `Encoder`.

    `features_only` wraps a model (`model.`, `body.`) or flattens its first level.
    """
    flat = name.replace(".", "_", 1)
    return [f"body.{wrapper}{n}" for wrapper in ("", "model.", "body.") for n in (name, flat)]


def load_encoder_weights(encoder: nn.Module, path: Path) -> None:
    """Copy the tensors that fit by name and shape into the encoder; refuse when none does.

    Names are tried as they stand and below `model.encoder.`, where this project's checkpoints have
    them; and as timm writes a whole model.
    """
    own = encoder.state_dict()
    found = {}
    for name, tensor in read_state_dict(path).items():
        name = name.removeprefix("module.").removeprefix("model.encoder.")
        for candidate in (name, *names_in_encoder(name)):
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


def require_download(name: str, timeout_s: float = 5.0) -> None:
    """Fail at once, instead of after minutes of retries, when the weights cannot be had."""
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise UserError(
            f"encoder.pretrained: timm has no weights for {name!r}",
            expected="a model of `timm.list_models(pretrained=True)`",
            fix="encoder.pretrained=false, or another encoder.name",
        )
    files = ("model.safetensors", "pytorch_model.bin")
    if config.hf_hub_id and any(
        isinstance(huggingface_hub.try_to_load_from_cache(config.hf_hub_id, f), str) for f in files
    ):
        return
    if any(os.environ.get(v) for v in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return  # a direct connection says nothing about what the proxy reaches
    host = urlsplit(huggingface_hub.constants.ENDPOINT).hostname
    try:
        socket.create_connection((host, 443), timeout=timeout_s).close()
    except OSError as error:
        raise UserError(
            f"encoder.pretrained: the weights of {name!r} are not in the cache and {host} does not answer",
            found=error,
            fix="connect to the network, give a local file with encoder.weights=FILE, or train from "
            "scratch with encoder.pretrained=false",
        ) from error
