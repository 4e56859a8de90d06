"""Builds the mixing of each phase and checks that labels and losses allow it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig

from pixelwise.augmentation import Mixing
from pixelwise.build.instantiate import make
from pixelwise.cli.checks import phases
from pixelwise.data.datamodule import DataModule
from pixelwise.errors import UserError
from pixelwise.losses import WeightedSum, takes_soft_targets


def mixings(config: DictConfig, data: DataModule) -> list[Mixing]:
    """One mixing per phase: its own or the global one.

    Raises:
        UserError: a way of mixing needs masks, and the images have one label each.
    """
    built = []
    for key, settings in _settings(config):
        mixing = make(settings, key) if settings else Mixing({})
        for name, mix in mixing.choices.items():
            if mix.needs_masks and not data.has_masks:
                raise UserError(
                    f"{key}: {name} mixes images with masks",
                    found="labels of whole images",
                    fix="mixing=cutmix or mixing=mixup",
                )
        built.append(mixing)
    return built


def check_losses(
    config: DictConfig, data: DataModule, mixed: Sequence[Mixing], losses: Sequence[WeightedSum]
) -> None:
    """Refuse a loss that cannot take the soft targets of the mixing in its phase.

    Raises:
        UserError: the first such loss, by the name of its part.
    """
    for (key, _), mixing, loss in zip(_settings(config), mixed, losses, strict=True):
        if not mixing.choices or not mixing.is_soft(data.has_masks):
            continue
        for name, part in loss.parts.items():
            if not takes_soft_targets(part):
                raise UserError(
                    f"loss: {name} ({type(part).__name__}) cannot take the soft targets of {key}",
                    found=", ".join(mixing.choices),
                    expected="a loss for soft targets, such as cross_entropy, focal, dice or bce",
                    fix="another loss; or, for masks, mixing=cutmix or classmix, whose targets are not soft",
                )


def _settings(config: DictConfig) -> list[tuple[str, Any]]:
    """Config key and settings of the mixing of each phase. Configs of earlier versions have none."""
    return [
        (f"schedule.phases.{name}.mixing", phase["mixing"])
        if phase.get("mixing")
        else ("mixing", config.get("mixing"))
        for name, phase in phases(config).items()
    ]
