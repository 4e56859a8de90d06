"""Training, audit and prediction find the same image files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.helpers import refused

from pixelwise.data.io.listing import find_images, is_image
from pixelwise.prediction import files

pytestmark = pytest.mark.fast

IMAGES = ["a.jpg", "B.PNG", "sub/c.tif", "d.webp"]
OTHERS = [
    "._a.jpg",
    ".hidden.png",
    "notes.txt",
    "Thumbs.db",
    "a.jp2",
    "__MACOSX/sub/e.jpg",
    ".ipynb_checkpoints/a-checkpoint.png",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images, and other files as on a user's disk."""
    for name in [*IMAGES, *OTHERS]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"resource fork")
    (tmp_path / "folder.png").mkdir()
    for name in IMAGES:
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / name)
    return tmp_path


def test_training_and_prediction_find_the_same_images(folder):
    expected = {Path(name).with_suffix("").as_posix(): folder / name for name in IMAGES}
    assert find_images(folder) == files.find_images(str(folder)) == expected


@pytest.mark.parametrize("pattern", ["**/*", "**/*.*"])
def test_a_glob_finds_no_other_files(folder, pattern):
    assert {*files.find_images(f"{folder}/{pattern}").values()} == {folder / name for name in IMAGES}


@pytest.mark.parametrize("pattern", ["**/._*", "*.txt", "__MACOSX/**/*.jp2"])
def test_a_glob_of_other_files_finds_no_image(folder, pattern):
    with refused("no image there"):
        files.find_images(f"{folder}/{pattern}")


def test_a_given_file_is_used(folder):
    assert files.find_images(str(folder / ".hidden.png")) == {".hidden": folder / ".hidden.png"}
    assert not is_image(folder / ".hidden.png", folder)
