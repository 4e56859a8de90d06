"""What many tests share: types of fixtures, and the one way to expect an error that is meant for users."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from pixelwise.errors import UserError

Compose = Callable[..., DictConfig]
"""The fixture `compose`: `compose(*overrides)` returns what `python train.py OVERRIDES` starts from."""

Script = Callable[..., subprocess.CompletedProcess[str]]
"""The fixture `script`: `script("train.py", *overrides)` runs a root script in an empty folder."""

Tiff = Callable[..., Path]
"""The fixture `tiff`: `tiff(name, array (H, W, C), **profile)` writes a GeoTIFF and returns its path."""


def refused(message: str) -> pytest.RaisesExc[UserError]:
    """A context in which a `UserError` must be raised whose text matches a regular expression."""
    return pytest.raises(UserError, match=message)
