"""Builds Lightning's trainer for a plan."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import EarlyStopping, ProgressBar
from lightning.pytorch.plugins import LayerSync
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from torch import nn

from pixelwise import checks
from pixelwise.build import limits
from pixelwise.build.instantiate import class_of, make
from pixelwise.cli.trainer_schema import Trainer
from pixelwise.errors import UserError
from pixelwise.models.sync_batchnorm import release, synchronise
from pixelwise.schedules.schedule import Plan
from pixelwise.training.callbacks.checkpoint import Checkpoint, WholeFile
from pixelwise.training.callbacks.ending import Ending, MaxTime
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
    """Lightning's trainer for a plan, which `trainer.max_epochs`, `max_steps` and `max_time` may shorten.

    Args:
        config: the resolved config.
        folder: the run folder.
        phase_plan: the phases of the training.
    """
    settings = limits.limited(config, phase_plan)
    phase_plan.check_accumulation()
    limits.check(settings, phase_plan)
    chosen = {name: node for name, node in config.logger.items() if OmegaConf.is_dict(node)}
    loggers = [make(node, f"logger.{name}", save_dir=str(folder)) for name, node in chosen.items()]
    nodes = {f"callbacks.{name}": node for name, node in config.callbacks.items() if node}
    by_key = {key: make(node, key) for key, node in nodes.items()}
    callbacks = list(by_key.values())
    if not any(isinstance(callback, Checkpoint) for callback in callbacks):  # as with callbacks=ema
        callbacks.insert(0, Checkpoint(config.task.monitor, config.task.mode))
    if (duration := limits.max_time(config.trainer.get("max_time"))) is not None:
        callbacks.append(MaxTime(duration))
    stopping = {key: callback for key, callback in by_key.items() if isinstance(callback, EarlyStopping)}
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
            Ending(phase_plan, limits.binding(config, phase_plan), stopping),
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
        limits.limited(config, phase_plan),
        phase_plan,
        default_root_dir=folder,
        logger=[],
        callbacks=[make(chosen[key], key) for key in bars],
    )


def check_trainer(settings: Mapping[str, Any]) -> None:
    """Refuse a value that Lightning's annotations do not admit; `pixelwise.cli.schema` knows the others."""
    options = checks.arguments(L.Trainer)
    for name in settings.keys() - Trainer.__annotations__.keys():
        if name in options and (found := checks.of_option(f"trainer.{name}", settings[name], options[name])):
            raise checks.refusal(found)


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
