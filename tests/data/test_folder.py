"""Layouts of images with masks, and the mistakes that file names or headers show."""

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


def split_is_refused(root, match, **options):
    with refused(match):
        source(root, **options).split("train")


def test_a_missing_root_suggests_a_similar_folder(tmp_path):
    (tmp_path / "streets").mkdir()
    split_is_refused(tmp_path / "street", r"street is missing[\s\S]*data\.root=.*streets")
    split_is_refused(tmp_path / "streets", "streets is empty")


def test_unknown_folders_are_listed(tmp_path):
    (tmp_path / "pictures").mkdir()
    split_is_refused(tmp_path, r"none of the known layouts[\s\S]*pictures[\s\S]*data\.source\.images=")


@pytest.mark.parametrize("places", ["{}/images {}/masks", "images/{} masks/{}"])
@pytest.mark.parametrize("wrong", ["Valid", "Train", "testing"])
def test_other_names_of_splits_are_refused(tmp_path, places, wrong):
    images, masks = places.format(wrong, wrong).split()
    draw_pairs(tmp_path / images, tmp_path / masks, "a")
    split_is_refused(tmp_path, f"{wrong} is not the name of a split[\\s\\S]*train, val .* or test")


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


@pytest.mark.parametrize("split", ["train", "val"])
def test_scored_splits_need_masks(tmp_path, split):
    draw(tmp_path / split / "images/a.png")
    with refused("masks is missing"):
        source(tmp_path).split(split)


def test_missing_masks_and_images_are_listed_and_counted(tmp_path):
    draw_pairs(tmp_path / "images", tmp_path / "masks", "abc")
    for name in range(7):
        draw(tmp_path / f"images/extra{name}.png")
    draw(tmp_path / "masks/lonely.png")
    split_is_refused(tmp_path, r"7 without a mask: extra0,.* and 2 more; 1 without an image: lonely")


def test_a_suffix_of_masks_is_suggested_and_read(tmp_path):
    for name in "ab":
        draw(tmp_path / f"images/{name}.jpg")
        draw(tmp_path / f"masks/{name}_mask.png")
    split_is_refused(tmp_path, "data.source.mask_suffix=_mask")
    assert len(source(tmp_path, mask_suffix="_mask").split("train")) == 2


def test_a_missing_mask_folder_and_an_empty_one(tmp_path):
    draw(tmp_path / "images/a.jpg")
    (tmp_path / "labels").mkdir()
    split_is_refused(tmp_path, r"masks is missing[\s\S]*labels")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/a.npy").touch()
    split_is_refused(tmp_path, r"masks holds no image[\s\S]*a\.npy")


def test_two_images_of_one_name_are_refused(tmp_path):
    draw_pairs(tmp_path / "images", tmp_path / "masks", "a")
    draw(tmp_path / "images/a.png")
    split_is_refused(tmp_path, r"a\.jpg and a\.png share the key 'a'")


def test_masks_of_another_size_are_listed(tmp_path):
    draw_pairs(tmp_path / "images", tmp_path / "masks", "ab")
    draw(tmp_path / "masks/b.png", size=(6, 4))
    split_is_refused(tmp_path, r"1 of 2 masks differ[\s\S]*b \(image 4×6, mask 6×4\)")


def draw_turned(root, tag, image=(4, 6), mask=(4, 6), **options):
    """A photograph with an orientation tag, and its mask."""
    exif = Image.Exif()
    exif[0x0112] = tag
    draw(root / "train/images/a.jpg", size=image, exif=exif)
    draw(root / "train/masks/a.png", size=mask)


@pytest.mark.parametrize("tag", [5, 6, 7, 8])
def test_masks_may_match_the_stored_or_the_shown_image(tmp_path, tag):
    draw_turned(tmp_path, tag, mask=(6, 4))
    assert source(tmp_path).split("train")[0].image.shape == (6, 4, 3)
    split_is_refused(
        tmp_path, r"EXIF[\s\S]*fits the image as shown[\s\S]*data\.source\.exif=apply", exif="ignore"
    )
    draw_turned(tmp_path, tag, mask=(4, 6))
    split_is_refused(tmp_path, r"EXIF[\s\S]*fits the image as stored[\s\S]*data\.source\.exif=ignore")
    assert source(tmp_path, exif="ignore").split("train")[0].image.shape == (4, 6, 3)
    draw_turned(tmp_path, tag, mask=(4, 4))
    split_is_refused(tmp_path, r"1 of 1 masks differ[\s\S]*create the masks again$")


@pytest.mark.parametrize(
    ("tag", "size", "expected"),
    [(1, (4, 6), 0), (3, (4, 6), 2), (2, (4, 6), 2), (6, (4, 6), 1), (6, (4, 4), 2), (9, (4, 6), 0)],
)
def test_rotated_images_are_reported(tmp_path, tag, size, expected):
    draw_turned(tmp_path, tag, size, size[::-1] if tag == 6 else size)
    remarks = source(tmp_path).split("train").remarks
    assert len(remarks) == expected
    if expected:
        assert "images with an EXIF orientation other than 1: 1 of 1, such as a" in remarks[0]
    if expected == 2:
        assert "does not show whether the mask matches the image" in remarks[1]
        assert "data.source.exif=ignore" in remarks[1]


def draw_table(path, indices, table):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.full((4, 6), indices, np.uint8), "P")
    image.putpalette([level for colour in table for level in colour])
    image.save(path)


def test_different_colour_tables_are_reported_with_palette(tmp_path):
    red, green, blue = [255, 0, 0], [0, 255, 0], [0, 0, 255]
    for name, table in {"a": [red, green], "b": [green, red]}.items():
        draw(tmp_path / f"train/images/{name}.png")
        draw_table(tmp_path / f"train/masks/{name}.png", 1, table)
    (remark,) = source(tmp_path).split("train").remarks
    assert "index 0 is (255, 0, 0) in a and (0, 255, 0) in b" in remark
    assert "'data.palette=[[255,0,0],[0,255,0]]'" in remark
    by_colour = FolderSegmentation(tmp_path, Labels(["background", "road"], palette=[red, green]))
    split = by_colour.split("train")
    assert [int(split.target(index)[0, 0]) for index in range(2)] == [1, 0]
    assert split.remarks == []
    draw_table(tmp_path / "train/masks/b.png", 1, [red, green, blue])  # one that no mask uses
    assert source(tmp_path).split("train").remarks == []


def test_all_unreadable_files_are_listed(tmp_path):
    draw_pairs(tmp_path / "images", tmp_path / "masks", "abc")
    for name in "ac":
        (tmp_path / f"images/{name}.jpg").write_bytes(b"")
    split_is_refused(tmp_path, r"2 of 3 files cannot be read as images[\s\S]*a\.jpg.*c\.jpg")


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"val": 0.6, "test": 0.4}, "nothing to train on"),
        ({"val": -0.1}, r"split\.val[\s\S]*from 0 to below 1"),
        ({"val": "some"}, r"split\.val[\s\S]*from 0 to below 1"),
        ({"seed": 1.5}, r"split\.seed[\s\S]*a whole number"),
    ],
)
def test_impossible_shares_are_refused(tmp_path, split, message):
    draw_pairs(tmp_path / "images", tmp_path / "masks", "abc")
    split_is_refused(tmp_path, message, split=split)


@pytest.mark.parametrize("places", [*PLACES, "images masks"])
def test_images_in_no_split_are_counted(tmp_path, places):
    for split in ("train", "val"):
        draw_pairs(*(tmp_path / name.format(split) for name in places.split()), "ab")
    assert "in no split" not in source(tmp_path, split=SPLIT).describe()
    draw(tmp_path / "depth/a.png")
    draw(tmp_path / "b.jpg")
    unused = f"; in no split: 2 images, such as {tmp_path / 'b.jpg'}"
    assert unused in source(tmp_path, split=SPLIT).describe()


@pytest.mark.parametrize("key", ["images", "masks", "image_suffix", "mask_suffix"])
def test_names_must_be_text(tmp_path, key):
    draw_pairs(tmp_path / "images", tmp_path / "masks", "abc")
    split_is_refused(tmp_path, rf"data\.source\.{key}", **{key: None})


@pytest.mark.parametrize("files", ["train.txt", {"train": "train.txt", "val": None}, {"train": ["a", "b"]}])
def test_split_files_must_be_paths_by_split(tmp_path, files):
    draw_pairs(tmp_path / "images", tmp_path / "masks", "abc")
    (tmp_path / "train.txt").write_text("a\nb")
    split_is_refused(tmp_path, r"data\.source\.split_files[\s\S]*one list for each split", split_files=files)


@pytest.mark.parametrize("ending", [".png", ".gif", ".bmp", ".tif"])
def test_colour_tables_are_compared_in_every_format(tmp_path, ending):
    """Programs that save colours with a table choose its order for each file."""
    for name, table in {"a": [[255, 0, 0], [0, 255, 0]], "b": [[0, 255, 0], [255, 0, 0]]}.items():
        draw(tmp_path / f"train/images/{name}.png")
        draw_table(tmp_path / f"train/masks/{name}{ending}", np.array([0, 1] * 3), table)
    (remark,) = source(tmp_path).split("train").remarks
    assert "index 0 is (255, 0, 0) in a and (0, 255, 0) in b" in remark


def test_grey_gifs_need_no_common_colour_table(tmp_path):
    for name, table in {"a": [[0] * 3, [1] * 3], "b": [[1] * 3, [0] * 3]}.items():
        draw(tmp_path / f"train/images/{name}.png")
        draw_table(tmp_path / f"train/masks/{name}.gif", np.array([0, 1] * 3), table)
    split = source(tmp_path).split("train")
    assert split.remarks == []
    assert [split.target(index)[0, 0] for index in range(2)] == [0, 1]


LOSSY = {
    "a.jpg": {},
    "a.png": {"format": "JPEG"},
    "a.webp": {},
    "a.tif": {"compression": "jpeg"},
}


@pytest.mark.parametrize("name", LOSSY)
def test_masks_compressed_with_loss_are_reported(tmp_path, name):
    """Even if every value that the compression left is a class."""
    draw(tmp_path / "train/images/a.png", size=(16, 16))
    draw(tmp_path / "train/masks" / name, 1, size=(16, 16), **LOSSY[name])
    (remark,) = source(tmp_path).split("train").remarks
    assert "compressed with loss" in remark
    threshold = FolderSegmentation(tmp_path, Labels(["background", "road"], threshold=0.5))
    assert threshold.split("train").remarks == []


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif", "a.bmp", "a.gif"])
def test_masks_without_loss_are_not_reported(tmp_path, name):
    draw(tmp_path / "train/images/a.png")
    draw(tmp_path / "train/masks" / name, 1, **({"lossless": True} if name == "a.webp" else {}))
    assert source(tmp_path).split("train").remarks == []


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
