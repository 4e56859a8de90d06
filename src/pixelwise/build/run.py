"""Builds the objects of a training, an evaluation or an outline from a config."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from omegaconf import DictConfig, OmegaConf

from pixelwise.build import class_weights, lightning_options
from pixelwise.build.instantiate import check_classes, make
from pixelwise.build.mixing import check_losses, mixings
from pixelwise.build.model import (
    auxiliary_settings,
    evaluation_protocol,
    model,
    resolve_statistics,
    without_downloads,
)
from pixelwise.build.outline import outline_of
from pixelwise.build.trainer import check_trainer, evaluation_loop, training_loop
from pixelwise.cli.checks import phases
from pixelwise.data.datamodule import DataModule
from pixelwise.data.survey import histograms
from pixelwise.errors import UserError
from pixelwise.losses import WeightedSum
from pixelwise.models import Composition
from pixelwise.reports.schedule_figure import ScheduleOutline
from pixelwise.runtime.device import memory_format
from pixelwise.runtime.warnings import hide_warnings
from pixelwise.schedules.freezing import check_something_trains
from pixelwise.schedules.param_groups import parameter_groups
from pixelwise.schedules.schedule import Plan, make_plan
from pixelwise.training.callbacks.checkpoint import check_monitor, known_scores
from pixelwise.training.module import Module
from pixelwise.training.run import Run
from pixelwise.types import Source

log = logging.getLogger(__name__)

GROUPING = ("layer_decay", "decay_norms")
"""Keys of `optimizer` that define its parameter groups; they are no arguments of the optimizer class."""


def run(config: DictConfig, folder: Path) -> Run:
    """Build a training. The order matters: the seed comes first, and the plan needs the data.

    Args:
        config: a composed and checked config; a copy is resolved.
        folder: the run folder.

    Raises:
        UserError: a class refuses its settings, or no parameter would be trained.
    """
    check(config)
    config = _prepared(config)
    lightning_options.check(config)
    data_module = data(config)
    if data_module.verify and not (folder / "data.json").is_file():
        histograms(data_module)  # reports all damaged files in one error
    phase_plan = plan(config, data_module)
    network = model(config, training=True)
    resolve_statistics(network, config, data_module)
    check_something_trains(phase_plan, network)
    learner = module(config, network, data_module, phase_plan, folder)
    check_optimizer(learner)
    data_module.check_augmentations()
    if config.compile:
        learner.model.compile()
    loop = training_loop(config, folder, phase_plan)
    check_monitors(config, loop, learner)
    return _run(loop, learner, data_module, phase_plan)


def check(config: DictConfig) -> None:
    """Refuse a value of a config that the class which receives it does not admit, before any is called."""
    plain = config.copy()
    class_weights.drop_auto(plain)
    resolved: Any = OmegaConf.to_container(plain, resolve=True)
    check_classes(resolved, source=config)
    check_trainer(resolved["trainer"])


def check_monitors(config: DictConfig, loop: L.Trainer, learner: Module) -> None:
    """Refuse a callback that monitors a score which is not logged; `Checkpoint` checks `task.monitor`."""
    scores = known_scores(learner, loop.callbacks)  # type: ignore[attr-defined]
    scores += [f"train/{name.removeprefix('val/')}" for name in scores if name.startswith("val/loss")]
    scores += [f"train/loss/aux_{name}" for name in auxiliary_settings(config)]
    for name, node in config.callbacks.items():
        monitor = node.get("monitor") if OmegaConf.is_dict(node) else None
        if scores and monitor not in (None, config.task.monitor):
            check_monitor(f"callbacks.{name}.monitor", monitor, scores)


def evaluation(config: DictConfig, folder: Path) -> Run:
    """Build the evaluation of a finished training; a checkpoint brings the weights later.

    Args:
        config: the config of the run; a copy is resolved.
        folder: the run folder; nothing is written to it.
    """
    config = _prepared(without_downloads(config))
    lightning_options.check(config)
    data_module = data(config)
    phase_plan = plan(config, data_module)
    learner = module(config, model(config), data_module, phase_plan, folder)
    if config.compile:
        learner.model.compile()
    return _run(evaluation_loop(config, folder, phase_plan), learner, data_module, phase_plan)


def _prepared(config: DictConfig) -> DictConfig:
    """A resolved copy of a config; also seeds all random number generators."""
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
    """The Lightning module: model, losses, scores and optimizer. The data module gets its augmentations.

    Args:
        config: the resolved config; automatic class weights are replaced by numbers in place.
        network: the model.
        data_module: the data.
        phase_plan: the phases of the training.
        folder: the run folder, which may contain the shares of the classes in the training split.
    """
    class_weights.resolve_auto(config, data_module, folder)
    losses = phase_losses(config)
    mixed = mixings(config, data_module)
    check_losses(config, data_module, mixed, losses)
    data_module.follow(
        augmentations(config, phase_plan),
        phase_plan.index_of_batch,
        in_step=phase_plan.in_step if phase_plan.accumulate > 1 else None,
        mean=lambda: network.normalize.mean.tolist(),
        mixings=mixed,
    )
    built = Module(
        model=network,
        losses=losses,
        auxiliary_losses=auxiliary_losses(config),
        scores=make(config.task.scores, "task.scores", classes=data_module.classes),
        optimizer=make({k: v for k, v in config.optimizer.items() if k not in GROUPING}, "optimizer"),
        memory_format=memory_format(config.memory_format),
        groups=partial(
            parameter_groups, **{k: config.optimizer[k] for k in GROUPING if k in config.optimizer}
        ),
        protocol=data_module.protocol,
    )
    built.config = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    return built


def outline(config: DictConfig) -> ScheduleOutline:
    """The outline of a training with this config. Nothing is trained or downloaded.

    The images are listed to get the length of an epoch. The model is built on PyTorch's meta device, without
    memory for weights, to count the parameters of each part and the layers of the encoder.

    Raises:
        UserError: as training would for the same phases.
    """
    config = without_downloads(config)
    OmegaConf.resolve(config)
    data_module = data(config)
    phase_plan = plan(config, data_module)
    phase_plan.check_accumulation()
    augmentations(config, phase_plan)  # raises UserError for invalid settings, as the next
    mixings(config, data_module)
    with torch.device("meta"):
        network = model(config, training=True)
    check_something_trains(phase_plan, network)
    return outline_of(phase_plan, network, OmegaConf.to_container(config))  # type: ignore[arg-type]


def loss(config: DictConfig, key: str = "loss") -> WeightedSum:
    """The loss of a config as a weighted sum of named parts; every part is logged."""
    built = make(config, key)
    return built if isinstance(built, WeightedSum) else WeightedSum({type(built).__name__.lower(): built})


def source(config: DictConfig) -> Source:
    """The source of a config, which reads images and labels."""
    return make(config.data.source, "data.source")


def data(config: DictConfig) -> DataModule:
    """The data module of a config."""
    keys = ["_target_", "source", "classes", "batch_size", "num_workers", "eval_size", "eval"]
    keys += ["train_samples", "verify", "cache", "target", "balance", "rare", "rare_share"]
    settings = {key: config.data[key] for key in keys if key in config.data}
    evaluation_protocol(config)  # an error names its key, not that of the data module
    return make(settings, "data", seed=config.seed)


def plan(config: DictConfig, data_module: DataModule) -> Plan:
    """The phases of a config in steps, for the actual number of batches per epoch."""
    batches = data_module.batches_per_epoch
    limit = config.trainer.limit_train_batches
    if limit is not None:
        batches = min(batches, limit) if isinstance(limit, int) else max(1, int(batches * limit))
    settings = {name: phase_settings(name, phase) for name, phase in phases(config).items()}
    accumulate = config.trainer.accumulate_grad_batches
    return make_plan(settings, Composition.PARTS, batches, accumulate, config.data.crop_size)


def phase_settings(name: str, phase: Any) -> Any:
    """The settings of a phase; a curve that is a mapping with `_target_` is built."""
    if isinstance(phase, Mapping) and isinstance(curve := phase.get("curve"), Mapping):
        return {**phase, "curve": make(curve, f"schedule.phases.{name}.curve")}
    return phase


def phase_losses(config: DictConfig) -> list[WeightedSum]:
    """One loss per phase: its own or the global one."""
    return [
        loss(phase["loss"], f"schedule.phases.{name}.loss") if phase.get("loss") else loss(config.loss)
        for name, phase in phases(config).items()
    ]


def auxiliary_losses(config: DictConfig) -> dict[str, WeightedSum]:
    """The losses of the auxiliary heads by name; a head without its own loss has that of the phase."""
    settings = auxiliary_settings(config)
    return {
        name: loss(node.loss, f"auxiliary.{name}.loss") for name, node in settings.items() if node.get("loss")
    }


def augmentations(config: DictConfig, phase_plan: Plan) -> list[Any]:
    """One augmentation per phase: its own or the global one, with its own or the global crop size."""
    built = []
    for (name, settings), phase in zip(phases(config).items(), phase_plan.phases, strict=True):
        size = {"size": list(phase.crop_size)} if phase.crop_size else {}
        key = f"schedule.phases.{name}.augmentation" if settings.get("augmentation") else "augmentation"
        built.append(make(settings.get("augmentation") or config.augmentation, key, **size))
    return built


def check_optimizer(module: Module) -> None:
    """Create the optimizer once: PyTorch checks its settings only together with the parameters."""
    try:
        module.configure_optimizers()
    except (TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError("optimizer: PyTorch does not accept these settings", found=error) from error
