"""Builds Lightning's trainer for a plan."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.plugins import LayerSync
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from torch import nn

from pixelwise.build.instantiate import class_of, make
from pixelwise.errors import UserError
from pixelwise.models.sync_batchnorm import release, synchronise
from pixelwise.runtime.device import precision
from pixelwise.schedules.schedule import Plan
from pixelwise.training.callbacks.checkpoint import Checkpoint, WholeFile
from pixelwise.training.callbacks.position import ExactResume
from pixelwise.training.callbacks.schedule import ScheduleCallback
from pixelwise.training.callbacks.signals import StopOnSignal
from pixelwise.training.loggers.metrics_csv import MetricsCSVLogger

log = logging.getLogger(__name__)


class SyncBatchNorm(LayerSync):
    """Lightning's plugin that synchronises batch normalization during training."""

    def apply(self, model: nn.Module) -> nn.Module:
        """Start to synchronise; Lightning calls it before the strategy wraps the module."""
        synchronise(model)
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """Stop to synchronise; Lightning calls it after training."""
        release(model)
        return model


def training_loop(config: DictConfig, folder: Path, phase_plan: Plan) -> L.Trainer:
    """Lightning's trainer for a plan, which `trainer.max_epochs` and `trainer.max_steps` may shorten.

    Args:
        config: the resolved config.
        folder: the run folder.
        phase_plan: the phases of the training.
    """
    settings = _limits(config, phase_plan)
    phase_plan.check_accumulation()
    check_validates(settings, phase_plan)
    chosen = {name: node for name, node in config.logger.items() if OmegaConf.is_dict(node)}
    loggers = [make(node, f"logger.{name}", save_dir=str(folder)) for name, node in chosen.items()]
    callbacks = [make(node, f"callbacks.{name}") for name, node in config.callbacks.items() if node]
    if not any(isinstance(callback, Checkpoint) for callback in callbacks):  # as with callbacks=ema
        callbacks.insert(0, Checkpoint(config.task.monitor, config.task.mode))
    trainer = _trainer(
        config,
        settings,
        phase_plan,
        default_root_dir=folder,
        logger=[MetricsCSVLogger(folder / "metrics.csv"), *loggers],
        callbacks=[
            ExactResume(phase_plan, config.seed),
            ScheduleCallback(phase_plan),
            *callbacks,
            StopOnSignal(),
        ],
    )
    if config.trainer.get("sync_batchnorm") and trainer.world_size == 1:
        log.warning("trainer.sync_batchnorm=true has no effect with one process")
    return trainer


def evaluation_loop(config: DictConfig, folder: Path, phase_plan: Plan) -> L.Trainer:
    """Lightning's trainer for evaluation: with a progress bar, without loggers and other callbacks."""
    chosen = {f"callbacks.{name}": node for name, node in config.callbacks.items() if node}
    bars = [
        key for key, node in chosen.items() if issubclass(class_of(str(node["_target_"]), key), ProgressBar)
    ]
    return _trainer(
        config,
        _limits(config, phase_plan),
        phase_plan,
        default_root_dir=folder,
        logger=[],
        callbacks=[make(chosen[key], key) for key in bars],
    )


def _limits(config: DictConfig, phase_plan: Plan) -> dict[str, Any]:
    """The settings of Lightning's trainer, limited to the plan."""
    settings = dict(config.trainer)
    settings["precision"] = precision(settings["precision"], settings["accelerator"])
    settings["max_epochs"] = _cut("max_epochs", settings["max_epochs"], phase_plan.epochs)
    settings["max_steps"] = _cut("max_steps", settings["max_steps"], phase_plan.steps)
    of_epochs = (
        settings["max_epochs"] * phase_plan.steps_per_epoch
    )  # the callbacks read the end from max_steps
    settings["max_steps"] = min(settings["max_steps"], of_epochs)
    settings["log_every_n_steps"] = min(settings["log_every_n_steps"], phase_plan.batches_per_epoch)
    return settings


def _trainer(
    config: DictConfig, settings: dict[str, Any], phase_plan: Plan, callbacks: list[L.Callback], **rest: Any
) -> L.Trainer:
    settings["strategy"] = strategy(config, phase_plan)
    plugins: list[Any] = [WholeFile(), *([SyncBatchNorm()] if settings.pop("sync_batchnorm", False) else [])]
    try:
        return L.Trainer(
            **settings,
            **rest,
            plugins=plugins,
            callbacks=callbacks,
            enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
            enable_checkpointing=False,  # `Checkpoint` does it
            enable_model_summary=False,  # each phase logs its trained parts
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
        )
    except (MisconfigurationException, TypeError, ValueError) as error:
        raise UserError(
            "trainer: Lightning does not accept these settings",
            found=error,
            fix="trainer=default uses the available device; or set trainer.accelerator=… trainer.devices=…",
        ) from error


def _cut(key: str, limit: int | None, planned: int) -> int:
    """The smaller one of a limit and the length of the plan, with a warning for a limit without effect."""
    if limit is None:
        return planned
    if limit > planned:
        what = f"trainer.{key}={limit}", planned, key.removeprefix("max_")
        log.warning("%s has no effect: the schedule has %d %s, and limits can only shorten it", *what)
    return min(limit, planned)


def check_validates(settings: Mapping[str, Any], phase_plan: Plan) -> None:
    """Refuse a training that ends before its first validation, as no epoch could be chosen as the best."""
    epochs = min(settings["max_epochs"], math.ceil(settings["max_steps"] / phase_plan.steps_per_epoch))
    if (settings["check_val_every_n_epoch"] or 1) > epochs:
        raise UserError(
            "trainer.check_val_every_n_epoch: the training would end before its first validation",
            found=settings["check_val_every_n_epoch"],
            expected=f"at most {epochs}, the number of trained epochs",
        )


def strategy(config: DictConfig, phase_plan: Plan) -> Any:
    """The strategy of Lightning's trainer: a name of Lightning, or an instance of a configured class."""
    settings = config.trainer.strategy
    if isinstance(settings, str):
        return settings
    settings = dict(settings or {})
    if settings.get("find_unused_parameters", True) is None:
        # DDP must search for unused parameters only if a phase freezes a part
        settings["find_unused_parameters"] = any(phase.freeze for phase in phase_plan.phases)
    return make(settings, "trainer.strategy")
