"""Tiles are prepared once, keyed by their files, and completely or not at all."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest
from tests.helpers import refused

from pixelwise.data.sources.potsdam import Potsdam
from pixelwise.data.tiles import cache
from pixelwise.drawn.city.potsdam_release import PALETTE, draw_release

pytestmark = pytest.mark.fast

CLASSES = ["impervious", "building", "low_vegetation", "tree", "car", "clutter"]
SPLIT = {"train": ["2_10"], "val": ["2_11"]}


@pytest.fixture
def root(tmp_path):
    draw_release(tmp_path / "data", ["2_10", "2_11"], 150, parts=["RGB", "IRRG", "label"])
    return tmp_path / "data"


def train(root, **options):
    return Potsdam(root, CLASSES, PALETTE.tolist(), options.pop("inputs", ["RGB"]), SPLIT, **options).split(
        "train"
    )


def folders(root):
    return sorted(path.name for path in (root / "prepared").iterdir() if path.is_dir())


def test_tiles_are_prepared_once(root, monkeypatch):
    first = train(root)
    monkeypatch.setattr(cache, "_write", None)  # decoding again would fail
    again = train(root)
    assert np.array_equal(first[0].image, again[0].image)
    assert len(folders(root)) == 1


def test_changed_files_are_prepared_again_and_replace_the_old(root):
    train(root)
    before = folders(root)
    path = next(root.rglob("top_potsdam_2_10_label.tif"))
    os.utime(path, ns=(time.time_ns(), time.time_ns() + 10**9))
    train(root)
    after = folders(root)
    assert len(after) == 1
    assert after != before


def test_other_inputs_get_their_own_folder(root):
    train(root)
    train(root, inputs=["IRRG"])
    assert len(folders(root)) == 2


def test_a_cache_removed_during_a_run_is_reported(root):
    split = train(root)
    for path in (root / "prepared").rglob("*.npy"):
        path.unlink()
    with refused("was removed or damaged"):
        split[0]


def test_an_interruption_leaves_nothing(root, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(cache, "_count", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(root)
    assert folders(root) == []


def test_a_full_disk_is_reported_before_preparation(root, monkeypatch):
    monkeypatch.setattr(
        cache.shutil, "disk_usage", lambda path: os.statvfs_result and type("U", (), {"free": 9})()
    )
    with refused("has no room for 1 prepared tiles"):
        train(root)


def test_a_read_only_folder_is_reported(root):
    (root / "file").touch()
    with refused("cannot be written"):
        train(root, prepared="file/below")


def test_squares_count_the_classes(root):
    split = train(root)
    tile = split.tiles[0]
    target, cells = np.array(tile.target), np.array(tile.cells)
    assert cells.shape == (6, 3, 3)
    assert (cells.sum((1, 2)) == np.bincount(target.ravel(), minlength=6)[:6]).all()
    assert cells[2, 1, 2] == (target[64:128, 128:] == 2).sum()


def test_other_palettes_get_their_own_folder(root):
    """Two runs that read a tile differently must not delete each other's files."""
    first = train(root)
    second = train(root, ignore=[[255, 0, 255]])
    assert len(folders(root)) == 2
    assert np.array_equal(first[0].target, second[0].target)


def test_checksums_show_a_changed_byte(root):
    split = train(root)
    split.verify()
    file = next((root / "prepared").rglob("image.npy"))
    with file.open("r+b") as stream:
        stream.seek(-5, os.SEEK_END)
        stream.write(bytes([stream.read(1)[0] ^ 1]))
    with refused(r"image\.npy differs from its checksum"):
        split.verify()


@pytest.mark.parametrize(
    "content", [b"", b"\x93NUMPY", b"noise" * 50, None], ids=["empty", "cut", "noise", "other"]
)
@pytest.mark.parametrize("name", ["image", "target"])
def test_damaged_arrays_are_named(root, name, content):
    split = train(root)
    file = next((root / "prepared").rglob(f"{name}.npy"))
    if content is None:
        np.save(file, np.zeros((3, 3, 3), np.uint8))
    else:
        file.write_bytes(content)
    with refused("was removed or damaged"):
        split[0]
    with refused("was removed or damaged"):
        split.verify()
