"""Public data sets in their published layouts: splits, names and the meaning of every stored label."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from tests.data.public_layouts import BENCHMARKS
from tests.helpers import Compose, refused
from timm.data import ImageNetInfo

from pixelwise import build
from pixelwise.data import DataModule

KEYS = {
    "ade20k": (4, 2, "ADE_val_00000001"),
    "cityscapes": (4, 2, "lindau/lindau_000000_000019"),
    "voc2012": (4, 2, "2008_000000"),
    "loveda": (4, 2, "Rural/0"),
    "imagenet": (1000, 3, "n01440764/ILSVRC2012_val_00000000"),
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmarks")
    for name, draw in BENCHMARKS.items():
        draw(folder / name)
    return folder


def data_of(name: str, drawn: Path, compose: Compose, *words: str) -> DataModule:
    task = ["task=classification"] if name == "imagenet" else []
    config = compose(f"data={name}", f"data.root={drawn / name}", *task, *words)
    OmegaConf.resolve(config)
    return build.data(config)


def values(data: DataModule, split: str = "val") -> list[int]:
    """The targets of the stripes of the first mask, from left to right."""
    row = np.asarray(data[split][0].target)[0].tolist()
    return [label for place, label in enumerate(row) if place == 0 or label != row[place - 1]]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_published_layout_has_its_splits(name: str, drawn: Path, compose: Compose) -> None:
    data = data_of(name, drawn, compose)
    train, val, key = KEYS[name]
    assert (len(data["train"]), len(data["val"]), data.splits["test"]) == (train, val, None)
    assert data["val"].key(0) == key


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ade20k", [255, 0, 1, 149]),
        ("voc2012", [0, 255, 1, 20]),
        ("loveda", [255, 0, 3, 6]),
    ],
)
def test_stored_labels_become_classes(name: str, expected: list[int], drawn: Path, compose: Compose) -> None:
    assert values(data_of(name, drawn, compose)) == expected


def test_cityscapes_ids_become_train_ids(drawn: Path, compose: Compose) -> None:
    """The table of cityscapesscripts, written by hand: 34 ids, and licence plates."""
    by_hand = (
        [255] * 7 + [0, 1, 255, 255, 2, 3, 4, 255, 255, 255, 5, 255, 6, 7, 8, 9, 10]
        + [11, 12, 13, 14, 15, 255, 255, 16, 17, 18, 255]
    )  # fmt: skip
    target = np.asarray(data_of("cityscapes", drawn, compose)["val"][0].target)[0]
    assert target.tolist() == [by_hand[place * 35 // 60] for place in range(60)]
    words = ["data.source.mask_suffix=_gtFine_instanceIds", "data.source.labels.remap=null"]
    ids = data_of("cityscapes", drawn, compose, *words, "data.source.labels.ignore=[]")
    with refused("19: .* pixel"):  # files of other labels are refused
        ids["val"][0]


@pytest.mark.parametrize(("name", "task"), [("imagenet", "segmentation"), ("ade20k", "classification")])
def test_a_task_without_labels_is_refused(name: str, task: str, compose: Compose) -> None:
    with refused(rf"data.tasks[\s\S]*found: +task={task}"):
        compose(f"data={name}", "data.root=data", f"task={task}")


def test_voc_can_train_on_the_augmented_list(drawn: Path, compose: Compose) -> None:
    words = [
        "data.source.masks=SegmentationClassAug",
        "data.source.split_files.train=ImageSets/Segmentation/trainaug.txt",
    ]
    data = data_of("voc2012", drawn, compose, *words)
    assert (len(data["train"]), len(data["val"])) == (6, 2)
    assert values(data, "train") == [0, 255, 1, 20]


def test_loveda_reads_one_region_and_names_test(drawn: Path, compose: Compose) -> None:
    both = data_of("loveda", drawn, compose)
    assert [both["train"].key(i) for i in range(4)] == ["Rural/0", "Rural/1", "Urban/0", "Urban/1"]
    test = drawn / "loveda/Test"
    assert f"no labels for {test}: predict.py input={test}" in both.source.describe()
    words = [f"data.source.{kind}s=Urban/{kind}s_png" for kind in ("image", "mask")]
    assert len(data_of("loveda", drawn, compose, *words)["train"]) == 2


def words_of(name: str) -> set[str]:
    return {word.rstrip("s") for word in re.findall("[a-z]+", name.lower())}


def test_imagenet_folders_have_their_names(drawn: Path, compose: Compose) -> None:
    data, info = data_of("imagenet", drawn, compose), ImageNetInfo("imagenet-1k")
    assert [data["val"].target(index) for index in range(3)] == [0, 255, 999]
    assert [data.classes[index] for index in (0, 255, 999)] == ["tench", "Leonberg", "toilet tissue"]
    assert [info.index_to_label_name(index) for index in range(1000)] == data.source.classes  # type: ignore[attr-defined]
    names = [words_of(name) for name in data.classes]
    synonyms = [words_of(info.index_to_description(index, detailed=False)) for index in range(1000)]
    assert all(name & words for name, words in zip(names, synonyms, strict=True))
