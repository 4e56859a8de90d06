"""Memory of a prediction is bounded: a tile of 12000² pixels has the same limit as one of 6000²."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
from benchmarks.large_image import draw, fresh, measure

MOST = 700
"""Megabytes above the idle process with the loaded model."""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read from /proc")
@pytest.mark.parametrize("side", [6000, 12000])
def test_peak_memory_of_a_large_prediction_is_bounded(side: int, tmp_path: Path) -> None:
    fresh(draw, tmp_path / "tile.tif", side)
    arguments = Namespace(window=768, tta=False, precision="32-true")
    memory = fresh(measure, tmp_path / "tile.tif", tmp_path / "out", False, arguments)
    assert memory["peak"] - memory["idle"] < MOST
    assert (tmp_path / "out/tile.tif").exists()
