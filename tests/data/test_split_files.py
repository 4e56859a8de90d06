"""Splits by lists of names."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from tests.helpers import refused

from pixelwise.data.labels import Labels
from pixelwise.data.sources.folder import FolderSegmentation

pytestmark = pytest.mark.fast

LISTS = {"train": "train.txt", "val": "sets/val.txt"}


@pytest.fixture
def root(tmp_path):
    """Four pairs, an image without a mask, and two lists."""
    for folder, names in {"images": ["a", "b", "c", "d", "sub/e"], "masks": ["a", "b", "c", "d"]}.items():
        for name in names:
            path = tmp_path / folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.zeros((4, 6), np.uint8)).save(path)
    (tmp_path / "sets").mkdir()
    (tmp_path / "train.txt").write_text("a\nb\n")
    (tmp_path / "sets/val.txt").write_text("d\n")
    return tmp_path


def source(root, lists=LISTS, **options):
    return FolderSegmentation(root, Labels(["no", "yes"]), split_files=lists, **options)


def keys(split):
    return [split.key(index) for index in range(len(split))]


def test_lists_define_the_splits(root):
    data = source(root)
    assert keys(data.split("train")) == ["a", "b"]
    assert keys(data.split("val")) == ["d"]
    assert data.split("test") is None
    assert "train 2, val 1" in data.describe()


@pytest.mark.parametrize(
    "text",
    ["a\r\n\r\nb \r\n", "\ufeffa\nb", "a.png\nb.JPG\n", "images/a.png\n./b\n", "images\\a.png\nb", "a\na\nb"],
)
def test_lists_are_read_as_people_write_them(root, text):
    (root / "train.txt").write_text(text, newline="", encoding="utf-8")
    assert keys(source(root).split("train")) == ["a", "b"]


def test_names_may_end_with_the_suffix_of_images(root):
    for name in "ab":
        (root / f"images/{name}.png").rename(root / f"images/{name}_img.png")
    (root / "train.txt").write_text("a_img\nb\n")
    assert keys(source(root, {"train": "train.txt"}, image_suffix="_img").split("train")) == ["a", "b"]


def test_listed_test_images_without_masks_are_to_predict(root):
    (root / "test.txt").write_text("sub/e\n")
    data = source(root, LISTS | {"test": "test.txt"})
    assert data.split("test") is None
    assert "no masks for the images of test" in data.describe()


@pytest.mark.parametrize("name", ["val", "valid", "validation", "dev"])
def test_the_list_of_val_has_other_names(root, name):
    assert keys(source(root, {"train": "train.txt", name: "sets/val.txt"}).split("val")) == ["d"]


@pytest.mark.parametrize(
    ("lists", "text", "message"),
    [
        (LISTS | {"val": "sets/vall.txt"}, "a", r"vall\.txt does not exist[\s\S]*in sets: val\.txt"),
        (LISTS, "", r"train\.txt is empty"),
        (LISTS, b"\xff\xfe\xe4", "not text in UTF-8"),
        (LISTS, "a\nd", r"several splits[\s\S]*1: d"),
        (LISTS, "a\nx", r"1 of 2 names of train have no image[\s\S]*x[\s\S]*such as a"),
        (LISTS, "a a", r"1 of 1 names of train have no image"),
        (LISTS, "sub/e", r"1 without a mask: sub/e"),
        ({"training": "train.txt"}, "a", r"one list a split[\s\S]*training"),
        (LISTS | {"dev": "train.txt"}, "a", r"one list a split"),
    ],
)
def test_mistakes_in_lists_are_refused(root, lists, text, message):
    (root / "train.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with refused(message):
        source(root, lists).split("train")
