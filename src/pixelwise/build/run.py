"""From config to objects."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from omegaconf import DictConfig, OmegaConf

from pixelwise.build import class_weights
from pixelwise.build.instantiate import make
from pixelwise.build.model import model, resolve_statistics, without_downloads
from pixelwise.build.outline import outline_of
from pixelwise.build.trainer import evaluation_loop, training_loop
from pixelwise.cli.checks import phases
from pixelwise.data.datamodule import DataModule
from pixelwise.data.survey import histograms
from pixelwise.errors import UserError
from pixelwise.losses import WeightedSum
from pixelwise.models import Composition
from pixelwise.reports.schedule_figure import ScheduleOutline
from pixelwise.runtime.device import memory_format, workers
from pixelwise.runtime.warnings import hide_warnings
from pixelwise.schedules.freezing import check_something_trains
from pixelwise.schedules.param_groups import parameter_groups
from pixelwise.schedules.schedule import Plan, make_plan
from pixelwise.training.module import Module
from pixelwise.training.run import Run
from pixelwise.types import Source

log = logging.getLogger(__name__)

GROUPING = ("layer_decay", "decay_norms")
"""Keys of `optimizer` that say how parameters are grouped, not how they are stepped."""


def run(config: DictConfig, folder: Path) -> Run:
    """Build a training. The order matters: the seed first, and the plan after the data it spans.

    Args:
        config: composed and checked; interpolations are resolved here.
        folder: the run folder.

    Raises:
        UserError: for settings that a class of the config refuses, and for a training that could not learn.
    """
    config = _prepared(config)
    data_module = data(config)
    if data_module.verify and not (folder / "data.json").is_file():
        histograms(data_module)  # all that is damaged is told at once, before the first of it stops something
    phase_plan = plan(config, data_module)
    network = model(config)
    resolve_statistics(network, config, data_module)
    check_something_trains(phase_plan, network)
    learner = module(config, network, data_module, phase_plan, folder)
    check_optimizer(learner)
    if config.compile:
        learner.model.compile()
    return _run(training_loop(config, folder, phase_plan), learner, data_module, phase_plan)


def evaluation(config: DictConfig, folder: Path) -> Run:
    """Build what scores the weights of a finished training, which a checkpoint is about to bring.

    Args:
        config: of the run; interpolations are resolved here.
        folder: the run folder, of which nothing is written.
    """
    config = _prepared(without_downloads(config))
    data_module = data(config)
    phase_plan = plan(config, data_module)
    learner = module(config, model(config), data_module, phase_plan, folder)
    if config.compile:
        learner.model.compile()
    return _run(evaluation_loop(config, folder, phase_plan), learner, data_module, phase_plan)


def _prepared(config: DictConfig) -> DictConfig:
    """A copy with its interpolations resolved; everything random starts from its seed from here on."""
    hide_warnings()
    config = config.copy()
    OmegaConf.resolve(config)
    L.seed_everything(config.seed, workers=True, verbose=False)
    return config


def _run(loop: L.Trainer, module: Module, data_module: DataModule, phase_plan: Plan) -> Run:
    outline = outline_of(phase_plan, module.model, module.config)
    return Run(loop, module, data_module, phase_plan, module.config, outline)


def module(
    config: DictConfig, network: Composition, data_module: DataModule, phase_plan: Plan, folder: Path
) -> Module:
    """The model with its losses, scores and optimizer; the data module gets its augmentations.

    Args:
        config: resolved; automatic class weights become numbers in place.
        network: the model.
        data_module: its data.
        phase_plan: the phases of the training.
        folder: the run folder, which may say what the training split held.
    """
    class_weights.resolve(config, data_module, folder)
    losses = phase_losses(config)
    data_module.follow(
        augmentations(config, phase_plan),
        phase_plan.index_of_batch,
        in_step=phase_plan.in_step if phase_plan.accumulate > 1 else None,
        mean=lambda: network.normalize.mean.tolist(),
    )
    built = Module(
        model=network,
        losses=losses,
        scores=make(config.task.scores, "task.scores", classes=data_module.classes),
        optimizer=make({k: v for k, v in config.optimizer.items() if k not in GROUPING}, "optimizer"),
        memory_format=memory_format(config.memory_format),
        groups=partial(
            parameter_groups, **{k: config.optimizer[k] for k in GROUPING if k in config.optimizer}
        ),
    )
    built.config = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    return built


def outline(config: DictConfig) -> ScheduleOutline:
    """What a training with this config would do; nothing is trained or downloaded.

    The data set is listed, for the length of an epoch. The model is built without numbers (on PyTorch's meta
    device), for the weights in each part and the layers of the encoder.

    Raises:
        UserError: what training would raise for the same phases.
    """
    config = without_downloads(config)
    OmegaConf.resolve(config)
    phase_plan = plan(config, data(config))
    phase_plan.check_accumulation()
    augmentations(config, phase_plan)  # raises for what cannot be built
    with torch.device("meta"):
        network = model(config)
    check_something_trains(phase_plan, network)
    return outline_of(phase_plan, network, OmegaConf.to_container(config))  # type: ignore[arg-type]


def loss(config: DictConfig, key: str = "loss") -> WeightedSum:
    """Any loss as a weighted sum of named parts, so that every part is logged."""
    built = make(config, key)
    return built if isinstance(built, WeightedSum) else WeightedSum({type(built).__name__.lower(): built})


def source(config: DictConfig) -> Source:
    """The data set of a config, as it lies on disk."""
    return make(config.data.source, "data.source")


def data(config: DictConfig) -> DataModule:
    """The data module of a config."""
    keys = [
        "_target_",
        "source",
        "classes",
        "batch_size",
        "eval_size",
        "train_samples",
        "verify",
        "cache",
        "target",
    ]
    settings = {key: config.data[key] for key in keys if key in config.data}
    return make(settings, "data", num_workers=workers(config.data.num_workers), seed=config.seed)


def plan(config: DictConfig, data_module: DataModule) -> Plan:
    """The phases of a config laid over the batches that an epoch will really have."""
    batches = data_module.batches_per_epoch
    limit = config.trainer.limit_train_batches
    if limit is not None:
        batches = min(batches, limit) if isinstance(limit, int) else max(1, int(batches * limit))
    settings = {name: phase_settings(name, phase) for name, phase in phases(config).items()}
    accumulate = config.trainer.accumulate_grad_batches
    return make_plan(settings, Composition.PARTS, batches, accumulate, config.data.crop_size)


def phase_settings(name: str, phase: Any) -> Any:
    """A phase with its curve built, where the config names the class of one."""
    if isinstance(phase, Mapping) and isinstance(curve := phase.get("curve"), Mapping):
        return {**phase, "curve": make(curve, f"schedule.phases.{name}.curve")}
    return phase


def phase_losses(config: DictConfig) -> list[WeightedSum]:
    """One loss a phase: its own or the global one."""
    return [
        loss(phase["loss"], f"schedule.phases.{name}.loss") if phase.get("loss") else loss(config.loss)
        for name, phase in phases(config).items()
    ]


def augmentations(config: DictConfig, phase_plan: Plan) -> list[Any]:
    """One augmentation a phase: its own or the global one, at its own crop size or the global one."""
    built = []
    for (name, settings), phase in zip(phases(config).items(), phase_plan.phases, strict=True):
        size = {"size": list(phase.crop_size)} if phase.crop_size else {}
        key = f"schedule.phases.{name}.augmentation" if settings.get("augmentation") else "augmentation"
        built.append(make(settings.get("augmentation") or config.augmentation, key, **size))
    return built


def check_optimizer(module: Module) -> None:
    """Make the optimizer once, for it looks at its settings only when it gets its parameters."""
    try:
        module.configure_optimizers()
    except (TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError("optimizer: PyTorch cannot step with these settings", found=error) from error
