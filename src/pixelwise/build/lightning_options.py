"""Which arguments of Lightning's trainer and which of its callbacks a plan of phases can honour.

The plan decides the order of batches, the length of the training, the learning rates and what is frozen, so
that a run can be resumed exactly. An argument or a callback that decides the same is refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import lightning as L
from lightning.pytorch import callbacks as cb
from omegaconf import DictConfig

from pixelwise.build.instantiate import class_of
from pixelwise.errors import UnknownName, UserError, nearest
from pixelwise.training.callbacks.ema import EMA

FREEZING = "schedule=freeze_then_finetune, or schedule.phases.NAME.freeze=[encoder]"
SAVING = "callbacks.checkpoint.every_n_steps=N or every_n_minutes=N; every run keeps checkpoints"

ARGUMENTS: dict[str, str | None] = {
    "accelerator": None,
    "strategy": None,
    "devices": None,
    "num_nodes": None,
    "precision": None,
    "logger": "logger=tensorboard, logger=wandb, or +logger.NAME._target_=CLASS",
    "callbacks": "callbacks=[default,early_stopping], or +callbacks.NAME._target_=CLASS",
    "fast_dev_run": "debug=one_batch",
    "max_epochs": None,
    "min_epochs": None,
    "max_steps": None,
    "min_steps": None,
    "max_time": None,
    "limit_train_batches": None,
    "limit_val_batches": None,
    "limit_test_batches": None,
    "limit_predict_batches": "python predict.py run=RUN input=FILES, with the files to predict",
    "overfit_batches": "debug=overfit, or data.train_samples=N",
    "val_check_interval": None,
    "check_val_every_n_epoch": None,
    "num_sanity_val_steps": "debug=one_batch, which also validates and tests a batch",
    "log_every_n_steps": None,
    "enable_checkpointing": SAVING,
    "enable_progress_bar": "callbacks.progress_bar=null removes the bar",
    "enable_model_summary": "+callbacks.summary._target_=lightning.pytorch.callbacks.ModelSummary",
    "accumulate_grad_batches": None,
    "gradient_clip_val": None,
    "gradient_clip_algorithm": None,
    "deterministic": None,
    "benchmark": None,
    "inference_mode": None,
    "use_distributed_sampler": "trainer.devices=N: every process reads its share of each batch",
    "profiler": None,
    "detect_anomaly": None,
    "barebones": "callbacks=checkpoint logger=none, or debug=profiler",
    "plugins": "trainer.precision, trainer.strategy and trainer.sync_batchnorm, which select plugins",
    "sync_batchnorm": None,
    "reload_dataloaders_every_n_epochs": "a phase in schedule.phases with its own augmentation or crop_size",
    "default_root_dir": "hydra.run.dir=DIR",
    "enable_autolog_hparams": "logger=none; all other loggers get the whole config",
    "model_registry": "python export.py run=RUN format=hub",
}
"""Every argument of `lightning.Trainer`: None if it has its usual effect, else what to use instead."""

CALLBACKS: dict[type, str | None] = {
    cb.Callback: None,
    cb.BaseFinetuning: FREEZING,
    cb.BackboneFinetuning: FREEZING,
    cb.BasePredictionWriter: "python predict.py run=RUN input=FILES output=DIR",
    cb.BatchSizeFinder: "data.batch_size=N with trainer.accumulate_grad_batches=M",
    cb.Checkpoint: SAVING,
    cb.DeviceStatsMonitor: None,
    cb.EarlyStopping: None,
    cb.EMAWeightAveraging: "callbacks=[default,ema]",
    cb.GradientAccumulationScheduler: "trainer.accumulate_grad_batches=N",
    cb.LambdaCallback: None,
    cb.LearningRateFinder: "python scripts/search.py search=loss_and_rate",
    cb.LearningRateMonitor: None,
    cb.ModelCheckpoint: "callbacks.checkpoint, with task.monitor=SCORE for the best epoch",
    cb.ModelPruning: "torch.nn.utils.prune on the trained model, pixelwise.load(RUN)",
    cb.ModelSummary: None,
    cb.OnExceptionCheckpoint: SAVING,
    cb.ProgressBar: None,
    cb.RichModelSummary: None,
    cb.RichProgressBar: None,
    cb.SpikeDetection: "trainer.gradient_clip_val=1, or a longer schedule.phases.NAME.warmup",
    cb.StochasticWeightAveraging: "callbacks=[default,ema]",
    cb.ThroughputMonitor: "callbacks=progress, which logs steps/s and images/s and writes speed.csv",
    cb.Timer: "trainer.max_time=DD:HH:MM:SS",
    cb.TQDMProgressBar: None,
    cb.WeightAveraging: "callbacks=[default,ema]",
    EMA: None,
}
"""Every callback of Lightning: None if it has its usual effect, else what to use instead.

A subclass counts as the nearest class above it."""


def check(config: DictConfig) -> None:
    """Refuse arguments of the trainer and callbacks that contradict the plan, before anything is built.

    Args:
        config: the resolved config.

    Raises:
        UnknownName: the trainer has no such argument.
        UserError: the argument or callback is refused; the message names what to use instead.
    """
    known = list(inspect.signature(L.Trainer.__init__).parameters)
    for name in config.trainer:
        if name not in known:
            raise UnknownName(
                f"trainer.{name}: Lightning's Trainer has no such argument",
                expected=" or ".join(nearest(str(name), known)) or None,
            )
        if (instead := ARGUMENTS.get(str(name))) is not None:
            raise UserError(f"trainer.{name} cannot be set: the project decides it", fix=f"use {instead}")
    bars = []
    for key, kind in callback_classes(config):
        if (instead := advice(kind)) is not None:
            raise UserError(
                f"{key}: {kind.__name__} contradicts the plan of phases, or has no effect with it",
                found=f"{kind.__module__}.{kind.__name__}",
                fix=f"use {instead}",
            )
        bars += [key] * issubclass(kind, cb.ProgressBar)
    if len(bars) > 1:
        raise UserError("a run has one progress bar", found=", ".join(bars), fix=f"{bars[0]}=null")


def callback_classes(config: DictConfig) -> Iterator[tuple[str, type]]:
    """The config key and the class of every callback; nothing is instantiated."""
    for name, node in config.callbacks.items():
        if isinstance(node, DictConfig) and "_target_" in node:
            yield f"callbacks.{name}", class_of(node._target_, f"callbacks.{name}")


def advice(kind: type) -> Any:
    """What to use instead of a callback class; None if it is honoured."""
    return next((CALLBACKS[base] for base in kind.__mro__ if base in CALLBACKS), None)
