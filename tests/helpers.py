"""What many tests share: types of fixtures, and the one way to expect an error that is meant for users."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from omegaconf import DictConfig
from tests.forked import Done

from pixelwise.errors import UserError

Compose = Callable[..., DictConfig]
"""The fixture `compose`: `compose(*overrides)` returns what `python train.py OVERRIDES` starts from."""

Script = Callable[..., subprocess.CompletedProcess[str]]
"""The fixture `script`: `script("train.py", *overrides)` runs a root script in an empty folder."""

Command = Callable[..., Done]
"""The fixture `command`: `command("train", *overrides)` runs a command in a fork, in an empty folder."""

Tiff = Callable[..., Path]
"""The fixture `tiff`: `tiff(name, array (H, W, C), **profile)` writes a GeoTIFF and returns its path."""

TWO_STEPS_AN_EPOCH = (
    "encoder=test_resnet",
    "callbacks=progress",
    "data.crop_size=32",
    "data.batch_size=4",
    "data.source.counts={train:8,val:4,test:6}",
    "trainer.accelerator=cpu",
    "trainer.log_every_n_steps=1",
)
"""Overrides of a run that logs each of its steps."""


def copy_run(run: Path, folder: Path, without: Sequence[str] = ("last.ckpt", "previous.ckpt")) -> Path:
    """Copy a run folder, by default without the large checkpoints that only resuming needs."""
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns(*without))
    return folder


def refused(message: str) -> pytest.RaisesExc[UserError]:
    """A context in which a `UserError` must be raised whose text matches a regular expression."""
    return pytest.raises(UserError, match=message)
