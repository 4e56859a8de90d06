"""The outline of a schedule: parts, learning rates, augmentation, crop size and loss of each phase."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pixelwise.cli.options import options
from pixelwise.models import Composition
from pixelwise.reports.schedule_figure import ScheduleOutline, describe_augmentation, describe_loss
from pixelwise.schedules.freezing import parameter_counts
from pixelwise.schedules.param_groups import GROUPING, parameter_groups
from pixelwise.schedules.schedule import Plan


def outline_of(plan: Plan, model: Composition, config: Mapping[str, Any]) -> ScheduleOutline:
    """The outline of a plan.

    Args:
        plan: the phases of the training.
        model: the model that is trained.
        config: the resolved config in plain containers.
    """
    phases = [phase for phase in config["schedule"]["phases"].values() if phase is not None]
    presets = augmentation_presets(config["data"])
    full_size = config["data"]["crop_size"]
    crops = [phase.crop_size or full_size for phase in plan.phases]
    groups = parameter_groups(model, **{k: v for k, v in config["optimizer"].items() if k in GROUPING})
    scales = {part: [g["scale"] for g in groups if g["part"] == part] or [1.0] for part in Composition.PARTS}
    return ScheduleOutline(
        plan=plan,
        augmentations=[
            describe_augmentation(
                phase.get("augmentation") or config["augmentation"],
                presets,
                phase.get("mixing") or config.get("mixing"),
            )
            for phase in phases
        ],
        crops=[
            "×".join(str(side) for side in ([crop, crop] if isinstance(crop, int) else crop))
            for crop in crops
        ],
        losses=[describe_loss(phase.get("loss") or config["loss"]) for phase in phases],
        weights=parameter_counts(model),
        scales={part: (min(factors), max(factors)) for part, factors in scales.items()},
    )


def augmentation_presets(data: Mapping[str, Any]) -> dict[str, Any]:
    """The options of `conf/augmentation` for a data set, except those that need other parts of the config."""
    presets: dict[str, Any] = {}
    settings = OmegaConf.create({"data": data})  # once, as data can have a thousand names of classes
    for name, file in options("augmentation").items():
        with suppress(OmegaConfBaseException):
            settings.preset = OmegaConf.load(file)
            presets[name] = OmegaConf.to_container(settings.preset, resolve=True)
    return presets
