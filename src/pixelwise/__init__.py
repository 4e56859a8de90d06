"""pixelwise: from image-level to pixel-level classification with one composition."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from pixelwise.build.restore import Predictor

__version__ = "0.1.0"


def compose(*words: str) -> DictConfig:
    """The config that `python train.py WORDS` would start from, for notebooks and scripts of your own.

    Raises:
        UserError: for a word that fits nothing, with what was probably meant.
    """
    from pixelwise.cli.application import compose_alone

    return compose_alone("train", words)


def load(path: str | Path, weights: str = "best") -> Predictor:
    """A trained model with its preprocessing, from a run folder, a hub folder or a checkpoint file.

    See `pixelwise.build.restore.load`, which is imported (with torch) when it is first called.
    """
    from pixelwise.build.restore import load

    return load(path, weights)
