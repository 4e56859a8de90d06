"""Builds the model of a config and sets the statistics of its normalization."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from pixelwise.build.instantiate import make
from pixelwise.data.datamodule import DataModule
from pixelwise.data.statistics import channel_statistics
from pixelwise.errors import UserError
from pixelwise.models import AuxiliaryHeads, Composition, InnerMaps, Normalize
from pixelwise.protocols import EvaluationProtocol

log = logging.getLogger(__name__)


def model(config: DictConfig, training: bool = False) -> Composition:
    """Build the model of a config; its weights are random, except those that the encoder loads.

    Args:
        config: a composed config.
        training: add the auxiliary heads.
    """
    encoder = make(config.encoder, "encoder", in_chans=config.data.channels)
    decoder = make(config.decoder, "decoder", channels=encoder.channels, strides=encoder.strides)
    classes = len(config.data.classes)
    head = make(
        config.task.head, "task.head", in_channels=decoder.out_channels, num_classes=classes, encoder=encoder
    )
    mean = config.data.mean or encoder.mean or [0.0] * config.data.channels
    std = config.data.std or encoder.std or [1.0] * config.data.channels
    for key, numbers in (("mean", mean), ("std", std)):
        if len(numbers) != config.data.channels:
            expected = f"{config.data.channels} numbers, one per channel"
            raise UserError(f"data.{key}", found=_plain(numbers), expected=expected)
    auxiliary = auxiliary_heads(config, encoder, decoder) if training else None
    return Composition(encoder, decoder, head, Normalize(mean, std), auxiliary)


def evaluation_protocol(config: DictConfig) -> EvaluationProtocol:
    """The protocol by which a run is evaluated."""
    node = config.data.get("eval")
    return EvaluationProtocol() if node is None else make(node, "data.eval")


def auxiliary_settings(config: DictConfig) -> dict[str, DictConfig]:
    """The settings of the auxiliary heads of a config by name, without those that are null.

    Raises:
        UserError: a name cannot be that of a module.
    """
    settings = {str(name): node for name, node in (config.get("auxiliary") or {}).items() if node is not None}
    for name in settings:
        if not name.isidentifier() or hasattr(AuxiliaryHeads, name):
            raise UserError(f"auxiliary.{name}: not a name for a head", fix=f"auxiliary.NAME.maps={name}")
    return settings


def auxiliary_heads(config: DictConfig, encoder: Any, decoder: Any) -> AuxiliaryHeads | None:
    """The auxiliary heads of a config; None if it has none.

    Raises:
        UserError: a head is on a map that the model does not have, or a setting is invalid.
    """
    settings = auxiliary_settings(config)
    if not settings:
        return None
    inner, heads, names = InnerMaps(encoder, decoder), {}, {}
    for name, node in settings.items():
        given = _plain(node.get("maps") or name)
        names[name] = given if isinstance(given, list) else [given]
        heads[name] = make(
            {"_target_": "pixelwise.models.AuxiliaryHead"}
            | {key: value for key, value in node.items() if key not in ("maps", "loss")},
            f"auxiliary.{name}",
            in_channels=inner.check(f"auxiliary.{name}", names[name]),
            num_classes=len(config.data.classes),
        )
    return AuxiliaryHeads(heads, names, inner)


def resolve_statistics(network: Composition, config: DictConfig, data_module: DataModule) -> None:
    """Set `data.mean` and `data.std` of a config where they are null.

    They are the values that the encoder's weights expect, otherwise the statistics of the training split.
    Both are logged as overrides.

    Raises:
        UserError: the images do not have `data.channels` channels.
    """
    encoder: Any = network.encoder
    open_keys = [key for key in ("mean", "std") if not config.data[key]]
    expected = {key: getattr(encoder, key) for key in open_keys if getattr(encoder, key)}
    if expected:
        log.info("%s: as %s expects", _overrides(expected), encoder.expected_by)
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
    given = {key: config.data[key] or getattr(encoder, key) for key in ("mean", "std")}
    network.normalize.set(**{key: list(missing.get(key) or given[key]) for key in given})
    log.info("%s: measured on the training split", _overrides(missing))


def _overrides(statistics: Mapping[str, Sequence[float]]) -> str:
    """The statistics as overrides."""
    return " ".join(f"data.{key}=[{','.join(f'{v:.6g}' for v in vs)}]" for key, vs in statistics.items())


def without_downloads(config: DictConfig) -> DictConfig:
    """A copy of the config without initial weights, for models whose weights a checkpoint replaces."""
    config = config.copy()
    none = {"pretrained": False, "weights": None, "checkpoint_path": ""}  # the last is an option of timm
    for key in none.keys() & set(config.encoder):
        config.encoder[key] = none[key]
    return config


def _plain(value: Any) -> Any:
    """The value of a config node in plain containers."""
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
