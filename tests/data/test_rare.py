"""Rare classes: crops that contain them, and images of them drawn more often."""

from __future__ import annotations

import numpy as np
import pytest
from tests.helpers import refused

from pixelwise.augmentation import RandomCrop
from pixelwise.data.datamodule import DataModule
from pixelwise.data.rare import RareCrops, class_order
from pixelwise.data.samplers import Balanced, Rank, SampleIndex, TrainingBatches, generator
from pixelwise.data.subset import InMemory
from pixelwise.types import IGNORE, Raw, Source, Split

pytestmark = pytest.mark.fast
CLASSES = ["ground", "car", "pole"]


class Photos(Split):
    """Image i is 60×80; a car is in every fifth one, a pole (one pixel) in number 7 only."""

    draws: int | None = None

    def __init__(self, with_masks: bool = True) -> None:
        self.with_masks = with_masks

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> Raw:
        mask = np.zeros((60, 80), np.uint8)
        mask[:10] = IGNORE
        if index % 5 == 0:
            mask[40:44, 70:76] = 1
        if index == 7:
            mask[59, 79] = 2
        target = mask if self.with_masks else int(index >= 17) + int(index == 19)
        return Raw(np.repeat(mask[..., None], 3, 2), target, f"photo {index}")

    def size(self, index: int) -> tuple[int, int]:
        return 60, 80


class Album(Source):
    def __init__(self, with_masks: bool = True, draws: int | None = None) -> None:
        self.photos = Photos(with_masks)
        self.photos.draws = draws

    def split(self, name: str) -> Split | None:
        return self.photos if name != "test" else None


def crops(split: Split, share: float, rare: list[int], epochs: int = 25) -> list[np.ndarray]:
    chosen, crop = RareCrops(split, CLASSES, rare, share), RandomCrop(24)
    masks = []
    for epoch in range(epochs):
        for index in range(len(split)):
            rng = generator(0, SampleIndex(0, epoch, index))
            raw = chosen.draw(index, rng)
            masks.append(crop(raw.image, raw.target, rng, raw.focus)[1])
    return masks


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_a_share_of_the_crops_holds_a_rare_class(share: float) -> None:
    masks = crops(Photos(), share, [1, 2])
    by_chance = np.mean([np.isin([1, 2], mask).any() for mask in crops(Photos(), 0.0, [1, 2])])
    found = np.mean([np.isin([1, 2], mask).any() for mask in masks])
    assert found == pytest.approx(share + (1 - share) * by_chance, abs=0.05)
    if share == 1:
        assert np.mean([(mask == 2).any() for mask in masks]) == pytest.approx(0.5, abs=0.07)


def test_other_crops_are_of_the_item_itself() -> None:
    chosen = RareCrops(InMemory(Photos()), CLASSES, [1], 0.5)
    drawn = [chosen.draw(i, generator(0, SampleIndex(0, 0, i))) for i in range(20)]
    assert all(raw.key == f"photo {i}" for i, raw in enumerate(drawn) if raw.focus is None)
    for raw in drawn:
        if raw.focus is not None:
            assert raw.target[raw.focus[1], raw.focus[0]] == 1
    assert [chosen[i].key for i in range(20)] == [Photos()[i].key for i in range(20)]
    assert chosen.originals == Photos().originals


def counts(order: Balanced, epoch: int) -> np.ndarray:
    order.set_epoch(epoch)
    return np.bincount(list(order), minlength=20)


def of_classes(strength: float, epoch: int = 0) -> list[int]:
    drawn = counts(class_order(Photos(with_masks=False), 3, strength), epoch)
    return [int(drawn[:17].sum()), int(drawn[17:19].sum()), int(drawn[19])]


def test_classes_are_drawn_in_proportion_to_a_power_of_their_size() -> None:
    equal = np.array([of_classes(1, epoch) for epoch in range(300)])
    assert (equal.sum(1) == 20).all()
    assert set(np.unique(equal)) == {6, 7}
    np.testing.assert_allclose(equal.mean(0), 20 / 3, atol=0.1)
    root = np.array([of_classes(0.5, epoch) for epoch in range(300)])
    sizes = np.sqrt([17, 2, 1])
    np.testing.assert_allclose(root.mean(0), 20 * sizes / sizes.sum(), atol=0.1)
    assert of_classes(1e-12) == [17, 2, 1]


def test_samples_of_a_class_are_used_equally_often() -> None:
    order = class_order(Photos(with_masks=False), 3, 1)
    for epoch in range(5):
        drawn = counts(order, epoch)
        assert np.ptp(drawn[:17]) <= 1
        assert np.ptp(drawn[17:19]) <= 1
    assert len({tuple(counts(order, epoch)) for epoch in range(5)}) > 1


def test_unlabelled_images_are_not_drawn() -> None:
    assert set(Balanced([0, 0, 1, IGNORE, IGNORE], 0, 1)) <= {0, 1, 2}


def batches(processes: int, first: int = 0) -> list[list[list[SampleIndex]]]:
    """The batches of each process of the second epoch."""
    result = []
    for process in range(processes):
        order = class_order(Photos(with_masks=False), 3, 1)
        order.set_epoch(1)
        sampler = TrainingBatches(order, 4, lambda e, b: 0, Rank(process, processes))
        sampler.first = first
        result.append(list(sampler))
    return result


def test_processes_share_the_batches_of_one() -> None:
    (one,), two = batches(1), batches(2)
    for whole, *parts in zip(one, *two, strict=True):
        assert sorted(whole) == sorted(part for own in parts for part in own)


def test_a_resumed_epoch_continues_the_order_and_its_repeats() -> None:
    (whole,), (rest,) = batches(1), batches(1, first=2)
    assert rest == whole[2:]
    drawn = [index for batch in whole for index in batch]
    assert len(set(drawn)) == 20, "a repeated sample has other random numbers"
    numbers = {generator(0, index).random() for index in drawn}
    assert len(numbers) == 20
    assert max(index.repeat for index in drawn) >= 5


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (Album(), {"balance": 1.0}, r"data\.balance: images with masks"),
        (Album(with_masks=False), {"rare": ["car"], "rare_share": 0.5}, r"data\.rare: images with one label"),
        (Album(), {"rare": ["car"]}, r"belong together"),
        (Album(), {"rare_share": 0.5}, r"belong together"),
        (
            Album(),
            {"rare": ["cart"], "rare_share": 0.5},
            r"data\.rare: cart is not a class[\s\S]*perhaps car",
        ),
        (Album(draws=9), {"rare": ["car"], "rare_share": 0.5}, r"data\.source\.draws\.rare"),
        (Album(draws=9), {"balance": 0.5}, r"data\.source\.draws\.rare"),
        (Album(), {"rare": ["ground", "bus"], "rare_share": 0.5}, r"no training image has a label of bus"),
        (Album(), {"balance": 2}, r"DataModule\.balance"),
    ],
)
def test_settings_without_effect_are_refused(source: Album, options: dict, message: str) -> None:
    with refused(message):
        data = DataModule(source, [*CLASSES, "bus"], 4, **options)
        data.follow([RandomCrop(24)], lambda epoch, batch: 0)
        data.train_dataloader()
