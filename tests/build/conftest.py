"""Builds runs without training them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.helpers import Compose

from pixelwise import build
from pixelwise.training import run


@pytest.fixture
def built(compose: Compose, tiny: list[str], tmp_path: Path) -> Callable[..., run.Run]:
    """`built(*overrides)` builds a run; 8 training scenes in batches of 4 are 2 steps per epoch."""
    return lambda *overrides: build.run(compose(*tiny, *overrides), tmp_path)
