"""A small copy of the Potsdam release."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pixelwise.drawn.city.potsdam_release import draw_release


@pytest.fixture(scope="session")
def release(tmp_path_factory):
    """Four small tiles with every file of the release; not to be written to."""
    root = tmp_path_factory.mktemp("potsdam") / "release"
    draw_release(root, ["2_10", "2_11", "5_12", "7_7"], 200)
    return root


@pytest.fixture
def root(release, tmp_path):
    """A copy to break."""
    return Path(shutil.copytree(release, tmp_path / "copy"))
