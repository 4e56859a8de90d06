"""Random splits keep the share of each class."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.labels import Labels
from pixelwise.data.sources.folder import FolderSegmentation
from pixelwise.data.splits import random_split, stratified_split

pytestmark = pytest.mark.fast

SHARES = {"val": 0.15, "test": 0.15}


def items(count, frequencies, seed):
    """Keys with random sets of classes; class k is in `frequencies[k]` of the items."""
    rng = np.random.default_rng(seed)
    members = [set(rng.permutation(count)[:number].tolist()) for number in frequencies]
    return {str(n): [k for k, chosen in enumerate(members) if n in chosen] for n in range(count)}


@pytest.mark.parametrize("seed", range(20))
def test_every_split_gets_its_share_of_each_class(seed):
    frequencies = [100, 60, 20, 10, 7]
    classes = items(100, frequencies, seed)
    splits = stratified_split(classes, **SHARES, seed=seed)
    for name, share in {"train": 0.7, **SHARES}.items():
        counts = np.bincount(list(chain(*(classes[key] for key in splits[name]))), minlength=5)
        assert (counts > 0).all()
        assert np.abs(counts - share * np.array(frequencies)).max() <= 2


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 10, 33])
@pytest.mark.parametrize("shares", [SHARES, {"val": 0.2}, {"val": 0.6, "test": 0.39}, {}])
def test_sizes_equal_those_of_a_random_split(count, shares):
    classes = items(count, [count, count // 2, 1], 0)
    splits = stratified_split(classes, **shares)
    plain = random_split(list(classes), **shares)
    assert {name: len(keys) for name, keys in splits.items()} == {n: len(plain[n]) for n in splits}
    assert sorted(chain(*splits.values())) == sorted(classes)


def test_the_order_of_the_keys_does_not_matter():
    classes = items(30, [20, 10, 5], 0)
    turned = dict(reversed(classes.items()))
    assert stratified_split(classes, **SHARES) == stratified_split(turned, **SHARES)
    assert stratified_split(classes, **SHARES) != stratified_split(classes, **SHARES, seed=1)


@pytest.mark.parametrize("seed", range(5))
def test_rare_masks_are_in_every_split(tmp_path, seed):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for number in range(30):
            value = int(number < 5) if folder == "masks" else number
            Image.fromarray(np.full((4, 6), value, np.uint8)).save(tmp_path / folder / f"{number}.png")
    (tmp_path / "masks/29.png").write_bytes(b"damaged")
    Image.fromarray(np.full((4, 6), 77, np.uint8)).save(tmp_path / "masks/28.png")
    data = FolderSegmentation(tmp_path, Labels(["no", "rare"]), split={**SHARES, "seed": seed})
    splits = {name: {int(key) for key in data.pairs(name)} for name in ("train", "val", "test")}
    assert all(keys & {*range(5)} for keys in splits.values())
    assert "stratified" in data.describe()
