"""Layouts of images with masks."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.helpers import refused

from pixelwise.data.labels import Labels
from pixelwise.data.sources.folder import FolderSegmentation
from pixelwise.data.splits import random_split

pytestmark = pytest.mark.fast


LABELS = Labels(["background", "road"])


SPLIT = {"val": 0.2, "test": 0.1, "seed": 0}


def draw(path: Path, value=0, size=(4, 6), **options):
    """One image (or, for a value, mask) of a single colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, value, np.uint8)).save(path, **options)


def draw_pairs(images: Path, masks: Path, names, ending=".jpg"):
    for value, name in enumerate(names):
        draw(images / f"{name}{ending}", 10 * value)
        draw(masks / f"{name}.png", value % 2)


def source(root, **options):
    return FolderSegmentation(root, LABELS, **options)


def keys(split):
    return [split.key(index) for index in range(len(split))]


def split_is_refused(root, match, **options):
    with refused(match):
        source(root, **options).split("train")


@pytest.mark.parametrize("places", ["{split}/images {split}/masks", "images/{split} masks/{split}"])
def test_splits_by_folders(tmp_path, places):
    for split, names in {"train": ["b", "a"], "val": ["c"]}.items():
        images, masks = places.format(split=split).split()
        draw_pairs(tmp_path / images, tmp_path / masks, names)
    data = source(tmp_path)
    assert keys(data.split("train")) == ["a", "b"]
    assert keys(data.split("val")) == ["c"]
    assert data.split("test") is None
    assert "train" in data.describe()


def test_an_item_is_image_target_and_key(tmp_path):
    draw_pairs(tmp_path / "train/images", tmp_path / "train/masks", ["a", "b"], ".png")
    split = source(tmp_path).split("train")
    image, target, key, *_ = split[1]
    assert image.shape == (4, 6, 3)
    assert (image == 10).all()
    assert target.dtype == np.uint8
    assert (target == 1).all()
    assert key == "b"
    assert split.size(1) == (4, 6)


def test_random_splits_are_reproducible(tmp_path):
    draw_pairs(tmp_path / "images", tmp_path / "masks", range(10))
    splits = {name: keys(source(tmp_path, split=SPLIT).split(name)) for name in ("train", "val", "test")}
    assert {name: len(split) for name, split in splits.items()} == {"train": 7, "val": 2, "test": 1}
    assert sorted(chain(*splits.values())) == [str(name) for name in range(10)]
    assert keys(source(tmp_path, split=SPLIT).split("val")) == splits["val"]
    assert keys(source(tmp_path, split=SPLIT | {"seed": 1}).split("val")) != splits["val"]
    assert "'seed': 0" in source(tmp_path, split=SPLIT).describe()


def test_a_share_of_0_gives_no_split(tmp_path):
    draw_pairs(tmp_path / "images", tmp_path / "masks", range(4))
    assert source(tmp_path, split={"val": 0.2, "test": 0}).split("test") is None
    assert len(source(tmp_path, split={"val": 0.2, "test": 0}).split("val")) == 1


@pytest.mark.parametrize("shares", [{"val": "x"}, {"val": 0.1, "seed": "y"}, {"val": 0.5, "test": 0.5}])
def test_invalid_split_shares_are_refused(shares):
    with refused(r"^data\.source\.split"):
        random_split(list("abc"), **shares)


def test_a_new_image_keeps_most_of_the_random_split():
    names = [str(number) for number in range(100)]
    before, after = random_split(names, **SPLIT), random_split([*names, "new"], **SPLIT)
    assert len(set(before["val"]) ^ set(after["val"])) <= 2


def test_subfolders_suffixes_and_folder_names(tmp_path):
    draw(tmp_path / "train/rgb/city/a_leftImg8bit.JPG")
    draw(tmp_path / "train/gt/city/a_label.png")
    draw(tmp_path / "train/gt/city/a_instance.png")
    (tmp_path / "train/rgb/.DS_Store").touch()
    options = {"images": "rgb", "masks": "gt", "image_suffix": "_leftImg8bit", "mask_suffix": "_label"}
    assert keys(source(tmp_path, **options).split("train")) == ["city/a"]


@pytest.mark.parametrize("folder", ["train", "."])
@pytest.mark.parametrize(("image_suffix", "mask_suffix"), [("", "_mask"), ("_img", "_mask"), ("_img", "")])
def test_images_and_masks_in_one_folder(tmp_path, folder, image_suffix, mask_suffix):
    for name in ("a", "sub/b"):
        draw(tmp_path / folder / f"{name}{image_suffix}.png", 200)
        draw(tmp_path / folder / f"{name}{mask_suffix}.png", 1)
    suffixes = {"image_suffix": image_suffix, "mask_suffix": mask_suffix}
    split = source(tmp_path, images=".", masks=".", **suffixes).split("train")
    assert keys(split) == ["a", "sub/b"]
    assert ((split[0].image == 200).all(), (split[0].target == 1).all()) == (True, True)


def test_images_and_masks_in_one_folder_are_recognised(tmp_path):
    draw(tmp_path / "train/a.png")
    draw(tmp_path / "train/a_mask.png")
    split_is_refused(tmp_path, "one folder need names that differ", images=".", masks=".")
    for root in (tmp_path, tmp_path / "train"):
        split_is_refused(root, r"source\.images=\. data\.source\.masks=\. data\.source\.mask_suffix=_mask")


def test_test_images_in_one_folder_may_lack_masks(tmp_path):
    for name in ("train/a", "train/a_mask", "test/b"):
        draw(tmp_path / f"{name}.png")
    data = source(tmp_path, images=".", masks=".", mask_suffix="_mask")
    assert data.split("test") is None
    assert f"input={tmp_path / 'test'}" in data.describe()


PLACES = ["{}/images {}/masks", "images/{} masks/{}"]


@pytest.mark.parametrize("places", PLACES)
@pytest.mark.parametrize("name", ["valid", "validation", "dev"])
def test_val_has_other_names(tmp_path, places, name):
    for split, file in {"train": "a", name: "b"}.items():
        images, masks = places.format(split, split).split()
        draw_pairs(tmp_path / images, tmp_path / masks, file)
    assert keys(source(tmp_path).split("val")) == ["b"]
    images, masks = places.format("val", "val").split()
    draw_pairs(tmp_path / images, tmp_path / masks, "c")
    split_is_refused(tmp_path, "two folders for the val split")


@pytest.mark.parametrize("places", [*PLACES, "{}/. {}/masks"])
def test_test_images_without_masks_are_to_predict(tmp_path, places):
    images, masks = (name.format("test") for name in places.split())
    pairs = (places if "." not in places else PLACES[0]).split()
    draw_pairs(*(tmp_path / name.format("train") for name in pairs), "ab")
    draw(tmp_path / images / "c.png")
    data = source(tmp_path)
    assert (len(data.split("train")), data.split("test")) == (2, None)
    assert f"predict.py input={tmp_path / images}" in data.describe()
    draw(tmp_path / masks / "d.png")
    with refused("without a mask|is missing"):
        source(tmp_path).split("test")


def test_camvid(request):
    """The one test on real data: 367 and 101 pairs, label 11 to be ignored."""
    root = request.config.rootpath / "../shared/data/camvid_half"
    if not root.is_dir():
        pytest.skip("the shared CamVid is not beside the repository")
    classes = [str(number) for number in range(11)]
    data = FolderSegmentation(root, Labels(classes, remap={11: 255}))
    assert (len(data.split("train")), len(data.split("val")), data.split("test")) == (367, 101, None)
    image, target, *_ = data.split("val")[0]
    assert image.shape == (180, 240, 3)
    assert set(np.unique(target)) <= {*range(11), 255}
