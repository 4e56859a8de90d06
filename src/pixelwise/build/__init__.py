"""From a checked config to objects; only this package calls the classes that a config names."""

from pixelwise.build.instantiate import make
from pixelwise.build.model import evaluation_protocol, model, resolve_statistics, without_downloads
from pixelwise.build.prediction import image_reader, prediction_identity, prediction_settings, views, writer
from pixelwise.build.run import (
    augmentations,
    check_optimizer,
    data,
    evaluation,
    loss,
    outline,
    phase_losses,
    phase_settings,
    plan,
    run,
    source,
)

__all__ = [
    "augmentations",
    "check_optimizer",
    "data",
    "evaluation",
    "evaluation_protocol",
    "image_reader",
    "loss",
    "make",
    "model",
    "outline",
    "phase_losses",
    "phase_settings",
    "plan",
    "prediction_identity",
    "prediction_settings",
    "resolve_statistics",
    "run",
    "source",
    "views",
    "without_downloads",
    "writer",
]
