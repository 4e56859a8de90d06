"""The model of a config."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from pixelwise import checks
from pixelwise.build.instantiate import make
from pixelwise.data.datamodule import DataModule
from pixelwise.data.statistics import channel_statistics
from pixelwise.errors import UserError
from pixelwise.models import Composition, Normalize

log = logging.getLogger(__name__)


def model(config: DictConfig) -> Composition:
    """Encoder, decoder and head of a config; the weights are random unless the encoder loads some."""
    encoder = make(config.encoder, "encoder", in_chans=config.data.channels)
    decoder = make(config.decoder, "decoder", channels=encoder.channels, strides=encoder.strides)
    head = make(
        config.task.head, "task.head", in_channels=decoder.out_channels, num_classes=len(config.data.classes)
    )
    mean = config.data.mean or encoder.mean or [0.0] * config.data.channels
    std = config.data.std or encoder.std or [1.0] * config.data.channels
    for key, numbers in (("mean", mean), ("std", std)):
        above = 0.0 if key == "std" else -math.inf
        checks.numbers(f"data.{key}", _plain(numbers), config.data.channels, above)
    return Composition(encoder, decoder, head, Normalize(mean, std))


def resolve_statistics(network: Composition, config: DictConfig, data_module: DataModule) -> None:
    """Where the config leaves mean or std open, take what the loaded weights expect, else measure it.

    Both are measured on the training split. What was found is told as the overrides that pin it.
    """
    encoder: Any = network.encoder
    open_keys = [key for key in ("mean", "std") if not config.data[key]]
    expected = {key: getattr(encoder, key) for key in open_keys if getattr(encoder, key)}
    if expected:
        log.info("%s: as %s expects", _overrides(expected), getattr(encoder, "expected_by", "the encoder"))
    if len(expected) == len(open_keys):
        return
    measured = dict(zip(("mean", "std"), channel_statistics(data_module["train"]), strict=True))
    if len(measured["mean"]) != config.data.channels:
        raise UserError(
            "data.channels",
            found=config.data.channels,
            expected=f"{len(measured['mean'])}, as in the images",
        )
    missing = {key: measured[key] for key in open_keys if key not in expected}
    known = {key: config.data[key] or getattr(encoder, key) for key in ("mean", "std")}
    network.normalize.set(**{key: list(missing.get(key) or known[key]) for key in known})
    log.info("%s: measured on the training split", _overrides(missing))


def _overrides(statistics: Mapping[str, Sequence[float]]) -> str:
    """What to type for these statistics."""
    return " ".join(f"data.{key}=[{','.join(f'{v:.6g}' for v in vs)}]" for key, vs in statistics.items())


def without_downloads(config: DictConfig) -> DictConfig:
    """The same model without the weights that it started from, as a checkpoint is about to replace them."""
    config = config.copy()
    config.encoder.pretrained, config.encoder.weights = False, None
    if "checkpoint_path" in config.encoder:  # an option of timm
        config.encoder.checkpoint_path = ""
    return config


def _plain(value: Any) -> Any:
    """A config node's value without OmegaConf's containers."""
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
