"""Windows count each label once; random crops are reproducible and do not fill the memory."""

from __future__ import annotations

import gc

import numpy as np
import psutil
import pytest
from tests.helpers import refused

from pixelwise.augmentation import Augmentation, Geometry
from pixelwise.data.datamodule import DataModule
from pixelwise.data.loader import Samples
from pixelwise.data.samplers import SampleIndex
from pixelwise.data.statistics import class_histogram, fingerprint
from pixelwise.data.tiles.cache import CELL, Prepared
from pixelwise.data.tiles.split import CropSampling, TileSplit
from pixelwise.inference.tiling import Tiling
from pixelwise.types import IGNORE, Source

pytestmark = pytest.mark.fast

CLASSES = ["ground", "house", "car"]


def store(folder, name, target, image=None):
    """A prepared tile; the image encodes the position of each pixel."""
    height, width = target.shape
    if image is None:
        rows, columns = np.indices(target.shape)
        image = np.stack([rows // 256, rows % 256, columns // 256, columns % 256], -1).astype(np.uint8)
    (folder / name).mkdir(parents=True)
    cells = np.zeros((3, -(-height // CELL), -(-width // CELL)), np.uint16)
    for index in range(3):
        for row, column in np.ndindex(cells.shape[1:]):
            square = target[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL]
            cells[index, row, column] = (square == index).sum()
    for part, array in {"image": image, "target": target, "cells": cells}.items():
        np.save(folder / name / f"{part}.npy", array)
    return Prepared(name, folder / name, height, width, 0)


@pytest.fixture
def tiles(tmp_path):
    """A tile of 300×500 with one car of a single pixel, and one of 200×200 without."""
    first, second = np.zeros((300, 500), np.uint8), np.ones((200, 200), np.uint8)
    first[:, 400:] = 1
    first[123, 321] = 2
    first[0, 0] = 2
    second[:5] = IGNORE
    return [store(tmp_path, "a", first), store(tmp_path, "b", second)]


@pytest.mark.parametrize("overlap", [0, 0.25, 0.6])
def test_windows_cover_tiles_and_count_labels_once(tiles, overlap):
    split = TileSplit(tiles, CLASSES, Tiling([128, 96], overlap))
    seen = {tile.name: np.zeros((tile.height, tile.width), int) for tile in tiles}
    for index, raw in enumerate(split):
        assert raw.image.shape[:2] == raw.target.shape == split.size(index) == (128, 96)
        name, place = raw.key.split("/")
        rows, columns = (raw.image[..., i].astype(int) * 256 + raw.image[..., i + 1] for i in (0, 2))
        assert place == f"{rows[0, 0]}_{columns[0, 0]}"
        assert (raw.window.row.start, raw.window.column.start) == (rows[0, 0], columns[0, 0])
        whole = np.array(tiles["ab".index(name)].target)
        assert (raw.target == whole[rows, columns]).all()
        alone = split.target(index)
        assert (alone == raw.target[: len(alone), : alone.shape[1]]).all()
        seen[name][rows[0, 0] : rows[0, 0] + len(alone), columns[0, 0] : columns[0, 0] + alone.shape[1]] += 1
    assert all((counts == 1).all() for counts in seen.values())


def test_the_fingerprint_does_not_depend_on_the_windows(tiles):
    splits = {
        "test": TileSplit(tiles, CLASSES, Tiling(100, 0.2)),
        "val": TileSplit(tiles, CLASSES, Tiling(64, 0)),
    }
    known = fingerprint(splits, CLASSES)
    assert known["test"] == known["val"]
    assert known["test"]["images"] == 2
    counted = [class_histogram(split, CLASSES) for split in splits.values()]
    assert (
        counted[0].pixels.tolist() == counted[1].pixels.tolist() == [300 * 400 - 2, 300 * 100 + 195 * 200, 2]
    )
    assert counted[0].ignored == counted[1].ignored == 1000


def samples(tiles, draws, size=32, seed=0, **geometry):
    split = TileSplit(tiles, CLASSES, Tiling(100), draws=draws)
    return Samples(split, [Augmentation(size, geometry=Geometry(**geometry))], seed, training=True)


def test_a_crop_is_a_function_of_seed_phase_epoch_and_index(tiles):
    def crops(seed, epoch):
        drawn = samples(tiles, CropSampling(50, ["car"], 0.3), seed=seed)
        return [drawn[SampleIndex(0, epoch, index)]["image"].numpy().tobytes() for index in range(50)]

    assert crops(0, 0) == crops(0, 0)
    assert crops(0, 0) != crops(0, 1)
    assert crops(0, 0) != crops(1, 0)
    assert len(set(crops(0, 0))) > 35  # those that show the corner are one


def test_tiles_are_drawn_by_their_area(tiles):
    split = TileSplit(tiles, CLASSES, Tiling(100), draws=CropSampling(190))
    names = [split.draw(index, np.random.default_rng(index)).key for index in range(190)]
    assert names.count("a") == 150
    assert names.count("b") == 40


@pytest.mark.parametrize(
    "geometry",
    [
        {},
        {"hflip": 0.5, "vflip": 0.5, "rot90": 0.75},
        {"scale": (0.5, 2.0)},
        {"scale": (0.4, 0.45), "hflip": 0.5, "translate": 0.2},
    ],
    ids=["plain", "turned", "rescaled", "shrunk"],
)
def test_a_crop_of_a_rare_class_holds_it(tiles, geometry):
    split = TileSplit(tiles, CLASSES, Tiling(100), draws=CropSampling(300, ["car"], 1.0))
    augment = Augmentation(32, geometry=Geometry(**geometry))
    places = []
    for index in range(300):
        rng = np.random.default_rng(index)
        raw = split.draw(index, rng)
        assert raw.target[raw.focus[::-1]] == 2
        linear = augment.crop.geometry.draw(np.random.default_rng(index + 1000))
        centre = augment.crop._draw_centre(raw.image, linear, np.random.default_rng(index), raw.focus)
        seen = linear @ (np.array(raw.focus) + 0.5 - centre) + 16
        assert ((seen > 0) & (seen < 32)).all()
        places.append((*raw.focus, *seen))
        if not geometry:
            assert (augment(raw.image, raw.target, rng, raw.focus)[1] == 2).any()
    places = np.array(places)
    assert {*map(tuple, places[:, :2].astype(int))} == {(321, 123), (0, 0)}
    inner = places[places[:, 0] == 321, 2:]
    assert inner.std(0).min() > 6  # anywhere in the crop: a uniform place has a deviation of 9


def test_the_share_of_rare_crops_is_as_configured(tiles):
    split = TileSplit(tiles, CLASSES, Tiling(100), draws=CropSampling(1000, ["car"], 0.25))
    focused = sum(split.draw(i, np.random.default_rng(i)).focus is not None for i in range(1000))
    assert 200 < focused < 300
    assert all(
        TileSplit(tiles[1:], CLASSES, Tiling(100), draws=CropSampling(9, ["car"], 1.0))
        .draw(i, np.random.default_rng(i))
        .focus
        is None
        for i in range(9)
    )


def test_an_epoch_has_the_configured_number_of_crops(tiles):
    class TileSource(Source):
        def split(self, name):
            draws = CropSampling(21) if name == "train" else None
            return TileSplit(tiles, CLASSES, Tiling(96, 0), draws) if name != "test" else None

    data = DataModule(TileSource(), CLASSES, batch_size=4)
    data.follow([Augmentation(16)], lambda epoch, batch: 0)
    assert data.batches_per_epoch == len(list(data.train_dataloader())) == 5
    assert next(iter(data.train_dataloader()))["image"].shape == (4, 4, 16, 16)
    windows = [
        key
        for batch in data.val_dataloader()
        for key, valid in zip(batch["key"], batch["valid"], strict=True)
        if valid
    ]
    assert len(windows) == len({*windows}) == len(data["val"]) == 24 + 9


def test_tiles_are_not_cached_window_by_window(tiles):
    """Training would see the same windows every epoch, and several processes parts of one map."""

    class TileSource(Source):
        def split(self, name):
            return TileSplit(tiles, CLASSES, Tiling(100, 0), CropSampling(11) if name == "train" else None)

    with refused(r"data\.cache"):
        DataModule(TileSource(), CLASSES, batch_size=4, cache=True)


def test_scaled_crops_from_disk_equal_those_from_memory(tiles):
    """The region that is read from disk holds all that the resampling needs."""
    augment = Augmentation(40, geometry=Geometry(scale=(0.3, 2), rotate=45, hflip=0.5, translate=0.4))
    tile = tiles[0]
    for index in range(60):
        image, mask = augment(tile.image, tile.target, np.random.default_rng(index))
        assert image.shape == (40, 40, 4)
        known = mask != IGNORE
        assert known.any()
        assert set(np.unique(mask)) <= {0, 1, 2, IGNORE}


def test_memory_does_not_grow_with_the_number_of_tiles(tmp_path):
    pixels, target = np.zeros((2000, 2000, 3), np.uint8), np.zeros((2000, 2000), np.uint8)
    stored = [store(tmp_path, str(index), target, pixels) for index in range(8)]

    def growth(tiles):
        drawn = samples(tiles, CropSampling(100), 256)
        drawn[SampleIndex(0, 0, 0)]
        gc.collect()
        before = psutil.Process().memory_info().rss
        for index in range(100):
            drawn[SampleIndex(0, 0, index)]
        return psutil.Process().memory_info().rss - before

    growth(stored[:1])
    assert growth(stored) < 12e6  # one tile is 16 MB, all of them 128


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"count": 0}, r"CropSampling\.count"),
        ({"share": 1.5}, r"CropSampling\.share"),
        ({"rare": ["cars"]}, r"draws.rare: cars is not a class[\s\S]*perhaps car"),
    ],
)
def test_a_wrong_argument_is_named(tiles, arguments, match):
    with refused(match):
        TileSplit(tiles, CLASSES, Tiling(100), draws=CropSampling(**arguments))
