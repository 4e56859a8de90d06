"""Mistakes that the names, headers or sizes of image and mask files show."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from tests.data.test_folder import draw, draw_pairs, source, split_is_refused
from tests.helpers import refused

from pixelwise.data.labels import Labels
from pixelwise.data.sources.folder import FolderSegmentation

pytestmark = pytest.mark.fast


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
