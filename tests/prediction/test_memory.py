"""Memory is bounded by a band of rows: a tile of 12000² pixels takes no more than one of 6000² may."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
from benchmarks.large_image import draw, fresh, measure

MOST = 700
"""Megabytes above the process that holds the model and waits."""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read from /proc")
@pytest.mark.parametrize("side", [6000, 12000])
def test_the_peak_of_a_large_prediction_is_bounded(side: int, tmp_path: Path) -> None:
    fresh(draw, tmp_path / "tile.tif", side)
    arguments = Namespace(window=768, tta=False, precision="32-true")
    found = fresh(measure, tmp_path / "tile.tif", tmp_path / "out", False, arguments)
    assert found["peak"] - found["idle"] < MOST
    assert (tmp_path / "out/tile.tif").exists()
