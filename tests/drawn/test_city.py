"""Drawn tiles: content, reproducibility, and that colour alone does not classify them."""

from __future__ import annotations

import time

import numpy as np
import pytest

from pixelwise.drawn.city.city import draw_city
from pixelwise.drawn.city.sprites import CAR, car
from pixelwise.metrics.confusion import confusion_matrix, iou

CLASSES = 6


@pytest.fixture(scope="module")
def cities():
    return [draw_city(0, tile, 1500) for tile in ("2_10", "2_11", "3_10", "3_11", "2_13")]


def test_a_tile_depends_on_seed_name_and_size_only():
    first, again, other = draw_city(3, "2_10", 300), draw_city(3, "2_10", 300), draw_city(4, "2_10", 300)
    assert all(map(np.array_equal, first, again))
    assert not np.array_equal(first.bands, other.bands)
    assert not np.array_equal(first.bands, draw_city(3, "2_11", 300).bands)
    assert first.bands.shape == (300, 300, 4)
    assert {array.dtype for array in first} == {np.dtype(np.uint8)}


def test_class_frequencies_are_similar_to_the_release(cities):
    frequencies = np.mean(
        [np.bincount(city.label.ravel(), minlength=6) / city.label.size for city in cities], 0
    )
    release = np.array([0.296, 0.257, 0.226, 0.155, 0.018, 0.048])
    assert (frequencies > release / 3).all()
    assert (frequencies < release * 3).all()


def test_a_car_is_about_40_by_90_pixels_and_a_house_is_taller(cities):
    h, w = car(np.random.default_rng(0)).cover.shape
    assert 80 <= h <= 100
    assert 35 <= w <= 45
    label, height = (np.concatenate([getattr(city, part) for city in cities]) for part in ("label", "height"))
    assert height[label == CAR].mean() < 20 < 40 < height[label == 1].mean()
    assert (height[label == 0] == 0).all()


@pytest.mark.parametrize("bands", [3, 4], ids=["RGB", "RGBIR"])
def test_pixel_colours_alone_give_an_iou_below_one_half(cities, bands):
    """The best classifier of single pixels: the most frequent class in each cell of the colour space."""

    def cells(city):
        return np.ravel_multi_index(np.moveaxis(city.bands[..., :bands] >> 4, -1, 0), (16,) * bands)

    counts = np.zeros((16**bands, CLASSES), np.int64)
    for city in cities[:-1]:
        np.add.at(counts, (cells(city), city.label), 1)
    import torch

    guess, truth = counts.argmax(1)[cells(cities[-1])], cities[-1].label.astype(np.int64)
    scores = iou(confusion_matrix(torch.from_numpy(guess), torch.from_numpy(truth), CLASSES))
    assert scores[:5].mean() < 0.5
    assert scores.nanmean() < 0.5


@pytest.mark.bench
def test_a_tile_of_3000_takes_a_few_seconds():
    start = time.perf_counter()
    draw_city(0, "2_10", 3000)
    assert time.perf_counter() - start < 5
