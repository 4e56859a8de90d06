"""Remarks on images and masks that were read: unused images, colour tables, lossy compression."""

from __future__ import annotations

import numpy as np
import pytest
from tests.data.test_folder import PLACES, SPLIT, draw, draw_pairs, source, split_is_refused
from tests.data.test_folder_faults import draw_table

from pixelwise.data.labels import Labels
from pixelwise.data.sources.folder import FolderSegmentation

pytestmark = pytest.mark.fast


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
    split_is_refused(tmp_path, rf"FolderSegmentation\.{key}", **{key: None})


@pytest.mark.parametrize("files", ["train.txt", {"train": "train.txt", "val": None}, {"train": ["a", "b"]}])
def test_split_files_must_be_paths_by_split(tmp_path, files):
    draw_pairs(tmp_path / "images", tmp_path / "masks", "abc")
    (tmp_path / "train.txt").write_text("a\nb")
    split_is_refused(
        tmp_path, r"FolderSegmentation\.split_files[\s\S]*expected: (a path|a mapping)", split_files=files
    )


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
