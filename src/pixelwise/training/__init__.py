"""Training and evaluation: the LightningModule, plain functions, callbacks and loggers."""

from pixelwise.training.callbacks.checkpoint import Checkpoint
from pixelwise.training.callbacks.ema import EMA
from pixelwise.training.callbacks.pictures import Pictures
from pixelwise.training.callbacks.record import EvaluationRecorder
from pixelwise.training.callbacks.throughput import EpochBar, Throughput
from pixelwise.training.callbacks.wandb_media import WandbMedia
from pixelwise.training.loggers.tensorboard import TensorBoardRun
from pixelwise.training.loggers.wandb import WandbRun

__all__ = [
    "EMA",
    "Checkpoint",
    "EpochBar",
    "EvaluationRecorder",
    "Pictures",
    "TensorBoardRun",
    "Throughput",
    "WandbMedia",
    "WandbRun",
]
