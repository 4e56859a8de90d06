"""The model of a config."""

from __future__ import annotations

import logging
import math
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
    """Where neither config nor pretrained weights say mean or std, measure it on the training split."""
    told = {key: config.data[key] or getattr(network.encoder, key) for key in ("mean", "std")}
    if all(told.values()):
        return
    measured = dict(zip(told, channel_statistics(data_module["train"]), strict=True))
    if len(measured["mean"]) != config.data.channels:
        raise UserError(
            "data.channels",
            found=config.data.channels,
            expected=f"{len(measured['mean'])}, as in the images",
        )
    network.normalize.set(**{key: list(told[key] or values) for key, values in measured.items()})
    words = [f"data.{key}={[round(v, 4) for v in measured[key]]}" for key in told if not told[key]]
    log.info("%s: measured on the training split", " ".join(words))


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
