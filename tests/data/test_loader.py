"""Order and random numbers depend on (seed, phase, epoch, index) only; resumption is exact."""

import multiprocessing
from itertools import groupby, islice, pairwise
from typing import Any

import numpy as np
import pytest
import torch

from pixelwise.augmentation import Transform
from pixelwise.data.loader import Collate, EvaluationLoader, Loader, Samples
from pixelwise.data.samplers import (
    EvaluationBatches,
    Permutation,
    Rank,
    SampleIndex,
    TrainingBatches,
    generator,
)
from pixelwise.data.subset import InMemory
from pixelwise.data.workers import worker_settings
from pixelwise.errors import UserError
from pixelwise.types import Raw, Split

pytestmark = pytest.mark.fast


class Numbers(Split):
    """Sample i is an image of value i; its size depends on i."""

    def __init__(self, length: int, broken: int = -1) -> None:
        self.length, self.broken = length, broken

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Raw:
        if index == self.broken:
            raise UserError("photo 7 is broken", fix="remove it")
        height, width = self.size(index)
        return Raw(np.full((height, width, 1), index, np.uint8), index, f"n{index}")

    def size(self, index: int) -> tuple[int, int]:
        return (2, 2 + index % 2)


def shift(image: np.ndarray, mask: None, rng: np.random.Generator) -> tuple[np.ndarray, None]:
    return image[:2, :2].astype(np.float32) + rng.random(dtype=np.float32), mask


def refuse(image: np.ndarray, mask: None, rng: np.random.Generator) -> tuple[np.ndarray, None]:
    raise UserError("photo 7 is broken", fix="another transform")


def loader(num_workers: int = 0, length: int = 23, broken: int = -1, transform: Transform = shift) -> Loader:
    def phase_of(epoch: int, batch: int) -> int:
        return int((epoch, batch) >= (1, 2))

    return Loader(
        Samples(Numbers(length, broken), [transform, transform], seed=5),
        batch_sampler=TrainingBatches(Permutation(length, seed=5), 4, phase_of),
        collate_fn=Collate(),
        **worker_settings(num_workers, 5),
    )


def epoch_of(loader: Loader, epoch: int) -> list[torch.Tensor]:
    loader.batch_sampler.sampler.set_epoch(epoch)
    return [batch["image"].clone() for batch in loader]


def equal(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_results_do_not_depend_on_workers() -> None:
    one, two = loader(0), loader(2)
    for epoch in (0, 1, 2):
        assert equal(epoch_of(one, epoch), epoch_of(two, epoch))


def test_epochs_differ_and_hold_distinct_samples() -> None:
    batches = loader()
    first, second = epoch_of(batches, 0), epoch_of(batches, 1)
    assert not equal(first, second)
    assert len(first) == len(batches) == 5
    values = torch.cat(first)[:, 0, 0, 0].floor().int().tolist()
    assert len(set(values)) == 20


def test_random_numbers_depend_on_every_index() -> None:
    draws = [SampleIndex(p, e, i) for p in (0, 1) for e in (0, 1) for i in (0, 1)]
    numbers = {generator(seed, draw).random() for seed in (0, 1) for draw in draws}
    assert len(numbers) == 16
    assert generator(3, SampleIndex(1, 2, 3)).random() == generator(3, SampleIndex(1, 2, 3)).random()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("consumed", [1, 3, 5])
def test_resuming_within_an_epoch_continues_exactly(workers: int, consumed: int) -> None:
    whole = loader()
    expected = epoch_of(whole, 1)[consumed:] + epoch_of(whole, 2)

    stopped = loader(workers)
    stopped.batch_sampler.sampler.set_epoch(1)
    list(islice(stopped, consumed))
    state = stopped.state_dict()
    assert state == {"epoch": 1, "batches_consumed": consumed}

    resumed = loader(2 - workers)
    resumed.load_state_dict(state)
    rest = [batch["image"].clone() for batch in resumed] if consumed < 5 else []
    assert equal(rest + epoch_of(resumed, 2), expected)


def test_resuming_twice_within_the_same_epoch() -> None:
    whole = epoch_of(loader(), 1)
    state = {"epoch": 1, "batches_consumed": 2}
    second = loader()
    second.load_state_dict(state)
    next(iter(second))
    state = second.state_dict()
    assert state == {"epoch": 1, "batches_consumed": 3}
    third = loader()
    third.load_state_dict(state)
    assert equal([batch["image"].clone() for batch in third], whole[3:])


def test_an_abandoned_epoch_does_not_shorten_the_next() -> None:
    batches = loader()
    list(islice(batches, 3))
    assert len(epoch_of(batches, 1)) == 5


def test_evaluation_batches_hold_each_sample_once() -> None:
    numbers = Numbers(23)
    sampler = EvaluationBatches([numbers.size(i) for i in range(23)], 4)
    batches = EvaluationLoader(
        Samples(numbers, [lambda image, mask, rng: (image, mask)], 0),
        batch_sampler=sampler,
        collate_fn=Collate(4),
    )
    seen = []
    for batch in batches:
        assert batch["image"].shape[0] == len(batch["key"]) == 4
        assert batch["image"].is_contiguous(memory_format=torch.channels_last)
        seen += batch["target"][batch["valid"]].tolist()
    assert sorted(seen) == list(range(23))


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
def test_windows_of_an_image_stay_together_and_in_order(processes: int) -> None:
    tile_of = [0] * 9 + [1] * 4 + [2] * 9 + [3]
    sizes = [(64, 64) if tile in (0, 2) else (30, 64) for tile in tile_of]
    shares = [
        EvaluationBatches(sizes, 4, Rank(rank, processes), tile_of).batches for rank in range(processes)
    ]
    assert len({len(batches) for batches in shares}) == 1, "otherwise a process waits forever"
    seen = []
    for batches in shares:
        own = [draw.sample for batch in batches for draw in batch if draw.valid]
        tiles = [tile_of[sample] for sample in own]
        assert all(len({tile_of[draw.sample] for draw in batch}) == 1 for batch in batches)
        assert len({*tiles}) == sum(1 for _ in groupby(tiles)), "a tile is finished before the next begins"
        assert all(later > sample for sample, later in pairwise(own) if tile_of[sample] == tile_of[later])
        seen += own
    assert sorted(seen) == list(range(len(tile_of)))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("cause", [{"broken": 7}, {"transform": refuse}], ids=["reading", "augmenting"])
def test_worker_errors_are_raised_unchanged(workers: int, cause: dict[str, Any]) -> None:
    others = {*multiprocessing.active_children()}
    with pytest.raises(UserError) as caught:
        epoch_of(loader(workers, length=8, **cause), 0)
    assert str(caught.value).splitlines()[0] == "photo 7 is broken"
    del caught  # it keeps the traceback, and that the loader
    assert {*multiprocessing.active_children()} <= others, "workers outlive the error"


def test_images_of_different_number_types_are_not_stacked() -> None:
    images = {"a": torch.zeros(3, 4, 4, dtype=torch.uint8), "b": torch.zeros(3, 4, 4)}
    samples: list[Any] = [
        {"image": image, "target": torch.tensor(0), "key": key, "valid": True}
        for key, image in images.items()
    ]
    assert "a is uint8, b is float32" in str(Collate()(samples))


def test_a_split_smaller_than_a_batch_is_one_batch() -> None:
    assert [len(b) for b in TrainingBatches(Permutation(3, 0), 8, lambda e, b: 0)] == [3]


def test_cached_items_are_unchanged_and_read_once() -> None:
    class Counting(Numbers):
        reads = 0

        def __getitem__(self, index: int) -> Raw:
            self.reads += 1
            return super().__getitem__(index)

    numbers = Counting(5)
    kept = InMemory(numbers)
    for _ in range(2):
        assert [kept[i].key for i in range(len(kept))] == [f"n{i}" for i in range(5)]
        assert [kept.size(i) for i in range(5)] == [numbers.size(i) for i in range(5)]
    assert numbers.reads == 5
