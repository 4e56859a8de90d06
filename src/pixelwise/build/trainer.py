"""Lightning's trainer, held to a plan."""

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

from pixelwise.build.instantiate import make
from pixelwise.errors import UserError
from pixelwise.models.sync_batchnorm import release, synchronise
from pixelwise.runtime.device import precision
from pixelwise.schedules.schedule import Plan
from pixelwise.training.callbacks.checkpoint import WholeFile
from pixelwise.training.callbacks.position import ExactResume
from pixelwise.training.callbacks.schedule import ScheduleCallback
from pixelwise.training.callbacks.signals import StopOnSignal
from pixelwise.training.loggers.metrics_csv import MetricsCSVLogger

log = logging.getLogger(__name__)


class SyncBatchNorm(LayerSync):
    """Lightning's hook to synchronise batch-norm while training."""

    def apply(self, model: nn.Module) -> nn.Module:
        """Called before the strategy wraps the module."""
        synchronise(model)
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """Called when training is over."""
        release(model)
        return model


def training_loop(config: DictConfig, folder: Path, phase_plan: Plan) -> L.Trainer:
    """Lightning's trainer as long as the plan; `trainer.max_epochs` or `max_steps` shorten it.

    Args:
        config: resolved.
        folder: the run folder.
        phase_plan: the phases of the training.
    """
    settings = _limits(config, phase_plan)
    phase_plan.check_accumulation()
    check_validates(settings, phase_plan)
    named = {name: node for name, node in config.logger.items() if OmegaConf.is_dict(node)}
    loggers = [make(node, f"logger.{name}", save_dir=str(folder)) for name, node in named.items()]
    callbacks = [make(node, f"callbacks.{name}") for name, node in config.callbacks.items() if node]
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
        log.warning("trainer.sync_batchnorm=true has no effect on one process")
    return trainer


def evaluation_loop(config: DictConfig, folder: Path, phase_plan: Plan) -> L.Trainer:
    """Lightning's trainer for scoring: it shows its progress, and writes to no run folder and no logger."""
    callbacks = [make(node, f"callbacks.{name}") for name, node in config.callbacks.items() if node]
    return _trainer(
        config,
        _limits(config, phase_plan),
        phase_plan,
        default_root_dir=folder,
        logger=[],
        callbacks=[callback for callback in callbacks if isinstance(callback, ProgressBar)],
    )


def _limits(config: DictConfig, phase_plan: Plan) -> dict[str, Any]:
    """The settings of Lightning's trainer, held to the plan."""
    settings = dict(config.trainer)
    settings["precision"] = precision(settings["precision"], settings["accelerator"])
    settings["max_epochs"] = _cut("max_epochs", settings["max_epochs"], phase_plan.epochs)
    settings["max_steps"] = _cut("max_steps", settings["max_steps"], phase_plan.steps)
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
            enable_checkpointing=False,  # `callbacks.checkpoint` does it
            enable_model_summary=False,  # each phase prints its parts
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
        )
    except (MisconfigurationException, TypeError, ValueError) as error:
        raise UserError(
            "trainer: Lightning cannot work with these settings",
            found=error,
            fix="trainer=default takes the device that is there; or trainer.accelerator=… trainer.devices=…",
        ) from error


def _cut(key: str, limit: int | None, planned: int) -> int:
    """How far to follow the plan; a limit beyond its end does not stretch it."""
    if limit is None:
        return planned
    if limit > planned:
        what = f"trainer.{key}={limit}", planned, key.removeprefix("max_")
        log.warning("%s has no effect: the schedule has %d %s, and limits only cut it short", *what)
    return min(limit, planned)


def check_validates(settings: Mapping[str, Any], phase_plan: Plan) -> None:
    """Refuse a training that ends before its first validation: no epoch could be the best."""
    epochs = min(settings["max_epochs"], math.ceil(settings["max_steps"] / phase_plan.steps_per_epoch))
    if (settings["check_val_every_n_epoch"] or 1) > epochs:
        raise UserError(
            "trainer.check_val_every_n_epoch: training would end without a validation",
            found=settings["check_val_every_n_epoch"],
            expected=f"at most {epochs}, the epochs that are trained",
        )


def strategy(config: DictConfig, phase_plan: Plan) -> Any:
    """How processes share the work: a name that Lightning knows, or a class with its arguments."""
    settings = config.trainer.strategy
    if isinstance(settings, str):
        return settings
    settings = dict(settings or {})
    if settings.get("find_unused_parameters", True) is None:
        # a part that a phase freezes gets no gradient, and costs its search only where there is one
        settings["find_unused_parameters"] = any(phase.freeze for phase in phase_plan.phases)
    return make(settings, "trainer.strategy")
