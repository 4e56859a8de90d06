"""Images with one class each: folders, tables, and labels that do not match the classes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from tests.helpers import refused

from pixelwise.data.sources.class_folders import FolderClassification

pytestmark = pytest.mark.fast

CLASSES = ["cat", "dog"]
SPLIT = {"val": 0.2, "test": 0.2, "seed": 0}


def draw(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(path)


def items(split):
    return {split.key(index): split.target(index) for index in range(len(split))}


def test_splits_by_folders(tmp_path):
    draw(tmp_path / "train/dog/a.jpg", tmp_path / "train/cat/b.png", tmp_path / "val/dog/c.jpg")
    data = FolderClassification(tmp_path, CLASSES)
    assert items(data.split("train")) == {"cat/b": 0, "dog/a": 1}
    assert items(data.split("val")) == {"dog/c": 1}
    assert data.split("test") is None
    image, target, key, *_ = data.split("train")[0]
    assert image.shape == (4, 6, 3)
    assert (target, key) == (0, "cat/b")


@pytest.mark.parametrize("name", ["valid", "validation", "dev"])
def test_val_has_other_names(tmp_path, name):
    draw(tmp_path / "train/dog/a.jpg", tmp_path / "train/cat/b.png", tmp_path / f"{name}/dog/c.jpg")
    assert items(FolderClassification(tmp_path, CLASSES).split("val")) == {"dog/c": 1}
    write_table(tmp_path, f"file, label, split\nimages/0.png, dog, train\nimages/1.png,cat,{name}\n")
    data = FolderClassification(tmp_path, CLASSES, csv="labels.csv")
    assert items(data.split("val")) == {"images/1": 0}


def test_test_images_without_classes_are_to_predict(tmp_path):
    draw(tmp_path / "train/dog/a.jpg", tmp_path / "train/cat/b.png", tmp_path / "test/c.jpg")
    data = FolderClassification(tmp_path, CLASSES)
    assert data.split("test") is None
    assert f"predict.py input={tmp_path / 'test'}" in data.describe()


def test_class_folders_are_split_class_by_class(tmp_path):
    draw(*(tmp_path / f"cat/{number}.png" for number in range(10)))
    draw(*(tmp_path / f"dog/{number}.png" for number in range(5)))
    data = FolderClassification(tmp_path, CLASSES, split=SPLIT)
    for name, counts in {"train": [6, 3], "val": [2, 1], "test": [2, 1]}.items():
        assert np.bincount([*items(data.split(name)).values()]).tolist() == counts
    assert "'seed': 0" in data.describe()


def write_table(root, text, name="labels.csv"):
    (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    for number in range(4):
        draw(root / f"images/{number}.png")


def test_a_table_with_splits(tmp_path):
    write_table(tmp_path, "file, label, split\nimages/0.png, dog, train\nimages/1.png,cat,val\n")
    data = FolderClassification(tmp_path, CLASSES, csv="labels.csv")
    assert items(data.split("train")) == {"images/0": 1}
    assert items(data.split("val")) == {"images/1": 0}
    assert data.split("test") is None


def test_a_table_without_splits_is_split_at_random(tmp_path):
    write_table(tmp_path, "file,label\n" + "".join(f"images/{n}.png,{CLASSES[n % 2]}\n" for n in range(4)))
    data = FolderClassification(tmp_path, CLASSES, csv="labels.csv", split={"val": 0.5})
    assert sorted(items(data.split("train")).values()) == sorted(items(data.split("val")).values()) == [0, 1]


def test_labels_to_skip(tmp_path):
    draw(tmp_path / "cat/a.png", tmp_path / "dog/a.png", tmp_path / "cow/a.png")
    assert len(FolderClassification(tmp_path, CLASSES, skip=["cow"]).split("train")) == 2


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["cat", "dog", "cow"], r"do not match the classes[\s\S]*cow[\s\S]*'data\.source\.skip=\[cow\]'"),
        (["cat", "dogs"], r"without dog[\s\S]*dog → dogs"),
        (["cat"], r"without dog[\s\S]*correct data\.classes"),
        (["train/cat", "train/dog", "Valid/cat"], r"Valid is not the name of a split"),
    ],
)
def test_folders_that_do_not_match_the_classes(tmp_path, folders, message):
    draw(*(tmp_path / folder / "a.png" for folder in folders))
    with refused(message):
        FolderClassification(tmp_path, CLASSES)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("files,label\n", r"wrong columns[\s\S]*files, label[\s\S]*file, label\[, split\]"),
        ("file,label\nimages/0.png,dgo\nimages/1.png,cat\n", "dog → dgo"),
        ("file,label\nimages/9.png,dog\nimages/1.png,cat\n", r"1 of 2 files[\s\S]*images/9\.png"),
        ("file,label\nimages/1.png,dog\nimages/1.png,cat\n", r"more than once[\s\S]*images/1"),
        ("file,label,split\nimages/0.png,dog,Valid\nimages/1.png,cat,val\n", r"'Valid'[\s\S]*train, val"),
        ("", r"wrong columns[\s\S]*nothing"),
        ("file,label\nimages/1.png,cat\nimages/0.png\n,dog\n", r"file or label is missing[\s\S]*line 3, 4"),
        ("file,label\nimages/0.png,Kätzchen\n".encode("latin-1"), r"labels\.csv is not text in UTF-8"),
        ("file,label,split\nimages/0.png,dog,\nimages/1.png,cat,val\n", "column split"),
    ],
)
def test_mistakes_in_a_table(tmp_path, table, message):
    write_table(tmp_path, table)
    with refused(message):
        FolderClassification(tmp_path, CLASSES, csv="labels.csv").split("train")


def test_a_missing_table(tmp_path):
    draw(tmp_path / "a.png")
    with refused(r"labels\.csv does not exist"):
        FolderClassification(tmp_path, CLASSES, csv="labels.csv")


@pytest.mark.parametrize("again", ["ROOT/i/a.jpg", "i/../i/a.jpg", "./i/a.jpg"])
def test_one_image_under_two_paths_is_refused(tmp_path, again):
    draw(tmp_path / "i/a.jpg", tmp_path / "i/b.jpg")
    rows = ["file,label", "i/a.jpg,cat", "i/b.jpg,dog", f"{again.replace('ROOT', str(tmp_path))},dog"]
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    with refused(r"lists images more than once[\s\S]*i/a"):
        FolderClassification(tmp_path, CLASSES, csv="labels.csv")


@pytest.mark.parametrize("layout", ["train/{}", "{}"])
@pytest.mark.parametrize(
    ("name", "count"), [("x.png", 1), ("cat/x.ppm", 1), (".x.png", 0), ("notes.txt", 0), ("owl/x.png", 0)]
)
def test_images_in_no_split_are_counted(tmp_path, layout, name, count):
    root = tmp_path / layout.format("")
    draw(root / "cat/a.jpg", root / "dog/a.jpg", root / "owl/a.jpg")
    (root / name).touch()
    origin = FolderClassification(tmp_path, CLASSES, skip=["owl"], split=SPLIT).describe()
    assert (f"; in no split: 1 image, such as {root / name}" in origin) == bool(count)
    assert ("in no split" in origin) == bool(count)
