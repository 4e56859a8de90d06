"""The Oxford-IIIT Pet layout, made here as it is published."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from PIL import Image
from tests.data.layouts import BREEDS, write_pets
from tests.helpers import refused

from pixelwise.data.sources.pets import PetsClassification, PetsSegmentation

pytestmark = pytest.mark.fast

SEGMENTATION = ["background", "cat", "dog"]


@pytest.fixture
def root(tmp_path):
    return write_pets(tmp_path / "pets")


def test_trimaps_give_background_cat_and_dog(root):
    split = PetsSegmentation(root, SEGMENTATION).split("test")
    rows = {raw.key: raw.target[:, 0].tolist() for raw in split}
    assert rows["Abyssinian_1"] == [1] * 8 + [0] * 8 + [255] * 8
    assert rows["american_bulldog_1"] == [2] * 8 + [0] * 8 + [255] * 8
    assert split[0].image.shape == (24, 30, 3)
    assert len(pickle.loads(pickle.dumps(split))[0].target) == 24


def test_validation_images_come_from_published_training(root):
    splits = {n: PetsSegmentation(root, SEGMENTATION, val=0.25).split(n) for n in ("train", "val", "test")}
    keys = {name: {split.key(i) for i in range(len(split))} for name, split in splits.items()}
    assert keys["test"] == {f"{breed}_1" for breed in BREEDS}
    assert {key.rpartition("_")[0] for key in keys["val"]} == {*BREEDS}  # one of each
    assert {name: len(k) for name, k in keys.items()} == {"train": 9, "val": 3, "test": 3}
    assert not keys["train"] & keys["val"]


def test_without_published_splits_the_list_is_split(tmp_path):
    data = PetsSegmentation(write_pets(tmp_path / "pets", published=False), SEGMENTATION)
    counts = {name: len(data.split(name)) for name in ("train", "val", "test")}
    assert counts == {"train": 9, "val": 3, "test": 3}
    assert "list.txt" in data.describe()


@pytest.mark.parametrize(
    ("label", "classes"), [("species", ["cat", "dog"]), ("breed", [*BREEDS])], ids=["species", "breed"]
)
def test_labels_of_images(root, label, classes):
    split = PetsClassification(root, classes, label=label).split("test")
    found = {raw.key: classes[raw.target] for raw in split}
    of_species = {"Abyssinian_1": "cat", "american_bulldog_1": "dog", "Bengal_1": "cat"}
    assert found == (of_species if label == "species" else {f"{breed}_1": breed for breed in BREEDS})


def test_the_parent_folder_is_accepted(root):
    assert len(PetsClassification(root.parent, ["cat", "dog"]).split("test")) == 3


def test_another_layout_is_refused(tmp_path):
    (tmp_path / "images").mkdir()
    with refused(r"not the Oxford-IIIT Pet[\s\S]*found: +images"):
        PetsSegmentation(tmp_path, SEGMENTATION)


def test_bad_breeds_lines_and_trimaps_are_refused(root):
    with refused(r"not classes[\s\S]*found: +Bengal[\s\S]*perhaps bengal"):
        PetsClassification(root, ["Abyssinian", "american_bulldog", "bengal"], label="breed")
    with (root / "annotations/test.txt").open("a") as file:
        file.write("Bengal_2 6 3 2\n")
    with refused(r"test.txt, line 4[\s\S]*Bengal_2 6 3 2"):
        PetsClassification(root, ["cat", "dog"])
    (root / "annotations/test.txt").write_text("Bengal_1 6 1 2\n")
    Image.fromarray(np.full((24, 30), 4, np.uint8)).save(root / "annotations/trimaps/Bengal_1.png")
    with refused(r"Bengal_1\.png holds labels without a meaning[\s\S]*4: 720 pixels"):
        PetsSegmentation(root, SEGMENTATION).split("test")[0]
