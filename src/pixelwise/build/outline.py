"""What a training would do, worked out from its config alone: nothing is trained or downloaded."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pixelwise import build
from pixelwise.models import Composition
from pixelwise.overrides import CONF
from pixelwise.reports.schedule_figure import Outline, augmentation_in_words, loss_in_words
from pixelwise.schedules.freezing import check_something_trains, parameter_counts
from pixelwise.schedules.param_groups import parameter_groups
from pixelwise.schedules.schedule import Plan


def outline(config: DictConfig) -> Outline:
    """The plan of a composed config.

    The data set is listed, for the length of an epoch. The model is built without numbers (on PyTorch's meta
    device), for the weights in each part and the layers of the encoder.

    Raises:
        UserError: what training would raise for the same phases.
    """
    config = build.without_downloads(config)
    OmegaConf.resolve(config)
    plan = build.plan(config, build.data(config))
    build.augmentations(config, plan)  # raises for what cannot be built
    with torch.device("meta"):
        model = build.model(config)
    check_something_trains(plan, model)
    return in_words(plan, model, OmegaConf.to_container(config))  # type: ignore[arg-type]


def in_words(plan: Plan, model: Composition, config: Mapping[str, Any]) -> Outline:
    """The outline of a plan that was built.

    Args:
        plan: of the training.
        model: whose parts the plan speaks of.
        config: with everything resolved, in plain containers.
    """
    phases = [phase for phase in config["schedule"]["phases"].values() if phase is not None]
    known = ready_augmentations(config["data"])
    whole = config["data"]["crop_size"]
    crops = [phase.crop_size or whole for phase in plan.phases]
    groups = parameter_groups(model, config["optimizer"].get("layer_decay"))
    scales = {part: [g["scale"] for g in groups if g["part"] == part] or [1.0] for part in Composition.PARTS}
    return Outline(
        plan=plan,
        augmentations=[
            augmentation_in_words(phase.get("augmentation") or config["augmentation"], known)
            for phase in phases
        ],
        crops=[
            "×".join(str(side) for side in ([crop, crop] if isinstance(crop, int) else crop))
            for crop in crops
        ],
        losses=[loss_in_words(phase.get("loss") or config["loss"]) for phase in phases],
        weights=parameter_counts(model),
        scales={part: (min(factors), max(factors)) for part, factors in scales.items()},
    )


def ready_augmentations(data: Mapping[str, Any]) -> dict[str, Any]:
    """The files of `conf/augmentation` as they are for these data, where nothing else decides."""
    known: dict[str, Any] = {}
    for file in sorted((CONF / "augmentation").glob("*.yaml")):
        with suppress(OmegaConfBaseException):
            settings = OmegaConf.create({"data": data, "one": OmegaConf.load(file)})
            known[file.stem] = OmegaConf.to_container(settings.one, resolve=True)
    return known
