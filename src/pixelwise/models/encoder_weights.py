"""Where an encoder's weights come from: the hub, if it answers, or a file, saying what matched."""

from __future__ import annotations

import logging
import os
import socket
import threading
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlsplit

import huggingface_hub
import timm
import torch
from safetensors.torch import load_file
from timm.models import adapt_input_conv
from torch import Tensor, nn

from pixelwise.errors import UserError, some

log = logging.getLogger(__name__)

COUNTER = "num_batches_tracked"
"""Of every batch-norm: it fits any model, and says nothing."""

CONTAINERS = ("state_dict_ema", "state_dict", "model")
"""Where training scripts keep the weights inside a checkpoint, in the order of preference."""


def weights_file(path: Path) -> Path:
    """The file itself, or that which a run folder or a hub folder keeps its weights in."""
    inside = (path / name for name in ("checkpoints/best.ckpt", "model.safetensors"))
    return next((file for file in inside if file.is_file()), path)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The named tensors of a `.safetensors` file or a checkpoint; nothing in it is executed."""
    if not path.is_file():
        raise UserError(
            f"encoder.weights: {path} is not a file",
            expected="a .ckpt, .pth or .safetensors file, a run folder or a hub folder",
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
    """Copy the tensors that fit into the encoder and say which did not; refuse when none does.

    Names are tried as they stand and below `model.encoder.` and `encoder.`, where this project's
    checkpoints and hub folders have them; and as timm writes a whole model. The first convolution of a
    model of three bands is adapted to the encoder's, as timm adapts pretrained ones.

    Raises:
        UserError: the file cannot be read, or nothing in it fits.
    """
    path = weights_file(path.expanduser())
    own = encoder.state_dict()
    found: dict[str, Tensor] = {}
    unexpected, misshapen = [], []
    for name, tensor in read_state_dict(path).items():
        known = [candidate for candidate in _candidates(name) if candidate in own]
        fitting = [(c, fit) for c in known if (fit := _fit(tensor, own[c])) is not None]
        if fitting:
            found[fitting[0][0]] = fitting[0][1]
        elif known:
            misshapen.append(f"{name} {tuple(tensor.shape)} for {tuple(own[known[0]].shape)}")
        else:
            unexpected.append(name)
    if all(name.endswith(COUNTER) for name in found):
        raise UserError(
            f"encoder.weights: nothing in {path} fits this encoder",
            found=some([*misshapen, *unexpected], 3) or "no tensors",
            expected=f"tensors such as {next(iter(own))!r}",
            fix="encoder.name must be the model that the weights were trained with",
        )
    missing = [name for name in own if name not in found and not name.endswith(COUNTER)]
    encoder.load_state_dict(found, strict=False)
    log.info(
        "encoder.weights=%s: %d tensors matched, %d missing, %d unexpected",
        path, len(found), len(missing), len(unexpected) + len(misshapen),
    )  # fmt: skip
    if unexpected:
        log.info("encoder.weights: not of the encoder, left out: %s", some(unexpected, 8))
    if misshapen:
        log.warning("encoder.weights: of another shape, left out: %s", some(misshapen, 8))
    if missing:
        log.warning("encoder.weights: missing, kept as initialised: %s", some(missing, 8))


def _candidates(name: str) -> list[str]:
    """Names in an `Encoder` that a tensor of a file may be meant for, the likeliest first."""
    name = name.removeprefix("module.")
    prefixes = ("", "model.encoder.", "encoder.")
    bare = [name.removeprefix(prefix) for prefix in prefixes if name.startswith(prefix)]
    return [candidate for n in bare for candidate in (n, *names_in_encoder(n))]


def _fit(tensor: Tensor, wanted: Tensor) -> Tensor | None:
    """The tensor, if need be adapted from three bands to those of the encoder; None where it does not fit."""
    if tensor.shape == wanted.shape:
        return tensor
    if tensor.ndim == wanted.ndim == 4 and tensor.shape[1] == 3:
        adapted = adapt_input_conv(wanted.shape[1], tensor)
        return adapted if adapted.shape == wanted.shape else None
    return None


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
    endpoint = urlsplit(huggingface_hub.constants.ENDPOINT)
    host, port = endpoint.hostname or "", endpoint.port or (80 if endpoint.scheme == "http" else 443)
    try:
        if huggingface_hub.constants.HF_HUB_OFFLINE:
            raise OSError("HF_HUB_OFFLINE is set")
        reach(host, port, timeout_s)
    except OSError as error:
        raise UserError(
            f"encoder.pretrained: the weights of {name!r} are not in the cache and {host} does not answer",
            found=error,
            fix="connect to the network, give a local file with encoder.weights=FILE, or train from "
            "scratch with encoder.pretrained=false",
        ) from error


def reach(host: str, port: int, timeout_s: float) -> None:
    """Open a connection, in that time or not at all.

    A socket's own timeout holds for each of a host's addresses anew, and not for finding its name.

    Raises:
        OSError: nothing answers there, or not in time.
    """
    outcome: SimpleQueue[OSError | None] = SimpleQueue()

    def attempt() -> None:
        try:
            socket.create_connection((host, port), timeout=timeout_s).close()
            outcome.put(None)
        except OSError as error:
            outcome.put(error)

    threading.Thread(target=attempt, daemon=True).start()
    try:
        error = outcome.get(timeout=timeout_s)
    except Empty:
        error = TimeoutError(f"no answer in {timeout_s:g} s")
    if error is not None:
        raise error
