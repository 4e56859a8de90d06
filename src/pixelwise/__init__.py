"""pixelwise: image classification and semantic segmentation with exchangeable parts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from pixelwise.build.restore import Predictor

__version__ = "0.1.0"


def compose(*words: str) -> DictConfig:
    """The config of `python train.py WORDS`, for notebooks and your own scripts.

    Args:
        *words: overrides, such as "loss=dice" and "optimizer.lr=3e-4".

    Raises:
        UserError: an override cannot be applied; the message suggests the nearest name.
    """
    from pixelwise.cli.application import compose_alone

    return compose_alone("train", words)


def load(path: str | Path, weights: str = "best") -> Predictor:
    """A trained model with its preprocessing, from a run folder, a hub folder or a checkpoint file.

    See `pixelwise.build.restore.load`. The first call imports torch.
    """
    from pixelwise.build.restore import load

    return load(path, weights)
