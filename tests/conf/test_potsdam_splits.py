"""The splits, colours and channels of conf/data/potsdam.yaml."""

from __future__ import annotations

from itertools import product

import pytest
from tests.helpers import Compose

from pixelwise.drawn.city.potsdam_release import PALETTE

pytestmark = pytest.mark.fast

TRAINING = {f"{row}_{column}" for row, column in product((2, 3, 4, 5), (10, 11, 12))} | {
    f"{row}_{column}" for row, column in product((6, 7), range(7, 13))
}
TEST = {f"{row}_{column}" for row, column in product((2, 3, 4, 5, 6), (13, 14))} | {
    "4_15",
    "5_15",
    "6_15",
    "7_13",
}


@pytest.mark.parametrize(("name", "left_out"), [("official", set()), ("geoseg", {"7_10"})])
def test_splits_equal_the_published_splits(name: str, left_out: set[str], compose: Compose) -> None:
    source = compose("data=potsdam", "data.root=x", f"data.split={name}").data.source
    split = {part: list(tiles) for part, tiles in source.split.items()}
    assert set(split["test"]) == TEST
    assert set(split["train"]) | set(split["val"]) == TRAINING - left_out
    assert split["val"]
    all_tiles = [tile for tiles in split.values() for tile in tiles]
    assert len(all_tiles) == len(set(all_tiles)) == 38 - len(left_out)


def test_the_palette_equals_the_colours_of_the_release(compose: Compose) -> None:
    assert compose("data=potsdam", "data.root=x").data.palette == PALETTE.tolist()


@pytest.mark.parametrize(
    ("inputs", "channels"), [("RGB", 3), ("IRRG", 3), ("RGBIR", 4), ("RGB_nDSM", 4), ("RGBIR_nDSM", 5)]
)
def test_the_inputs_determine_the_channels(inputs: str, channels: int, compose: Compose) -> None:
    assert compose("data=potsdam", "data.root=x", f"data.inputs={inputs}").data.channels == channels
