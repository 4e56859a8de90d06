"""Training, audit and prediction find the same image files."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.helpers import refused

from pixelwise.data.io.images import read_image
from pixelwise.data.io.listing import find_images, is_image, read_headers
from pixelwise.data.labels import Labels
from pixelwise.data.sources.folder import FolderSegmentation
from pixelwise.prediction import files

pytestmark = pytest.mark.fast

IMAGES = ["a.jpg", "B.PNG", "sub/c.tif", "d.webp"]
LINKED = {"B": "B.PNG", "sub/c": "sub/c.tif", "d": "d.webp"}
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


@pytest.mark.parametrize("find", [find_images, lambda folder: files.find_images(str(folder))])
def test_links_to_folders_are_followed_once(folder, tmp_path_factory, find):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (folder / "a.jpg").rename(elsewhere / "a.jpg")
    (folder / "linked").symlink_to(elsewhere)
    (folder / "sub/again").symlink_to(folder)
    expected = {"linked/a": folder / "linked/a.jpg"} | {key: folder / name for key, name in LINKED.items()}
    assert find(folder) == expected


@pytest.mark.parametrize("content", ["link", "empty", "lfs", "page"])
def test_files_that_are_not_there_are_named_with_the_reason(folder, content):
    file = folder / "a.jpg"
    file.unlink()
    if content == "link":
        file.symlink_to(folder / "missing.jpg")
    else:
        lfs = b"version https://git-lfs.github.com/spec/v1"
        file.write_bytes({"empty": b"", "lfs": lfs, "page": b"<!DOCTYPE html>"}[content])
    reasons = {"link": "a link to .*missing.jpg", "empty": "empty", "lfs": "git lfs pull", "page": "web page"}
    images = find_images(folder)
    with refused(rf"1 of 4 files cannot be read as images[\s\S]*a\.jpg: .*{reasons[content]}"):
        read_headers([*images.values()])
    with refused(reasons[content]):
        read_image(file)


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
def test_keys_do_not_depend_on_the_form_of_unicode(tmp_path, forms):
    """macOS may store an accent as a character of its own, which no viewer shows."""
    image, mask = (unicodedata.normalize(form, "café") for form in forms)
    for place in (f"images/{image}.png", f"masks/{mask}.png"):
        (tmp_path / place).parent.mkdir()
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / place)
    (tmp_path / "train.txt").write_text("café", encoding="utf-8")
    labels = Labels(["no", "yes"])
    for options in ({}, {"split_files": {"train": "train.txt"}}):
        split = FolderSegmentation(tmp_path, labels, **options).split("train")
        assert split.key(0) == unicodedata.normalize("NFC", "café")
    images, masks = (tmp_path / kind for kind in ("images", "masks"))
    assert find_images(images).keys() == find_images(masks).keys()


def test_a_given_file_is_used(folder):
    assert files.find_images(str(folder / ".hidden.png")) == {".hidden": folder / ".hidden.png"}
    assert not is_image(folder / ".hidden.png", folder)
