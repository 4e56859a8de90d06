"""Mixed training batches depend on (seed, phase, epoch, sample) only, and carry their soft targets."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch
from tests.helpers import refused

from pixelwise.augmentation import CutMix, Mixing, MixUp
from pixelwise.data.loader import Collate, Loader, Samples, count_labels
from pixelwise.data.mixing import MixRows
from pixelwise.data.samplers import SINGLE_PROCESS, Permutation, Rank, TrainingBatches
from pixelwise.data.workers import worker_settings
from pixelwise.types import IGNORE, Batch, Raw, Split

pytestmark = pytest.mark.fast
PLAIN, MIXED = Mixing({}), Mixing({"mixup": MixUp(1.0), "cutmix": CutMix()}, p=0.8)


class Photos(Split):
    """Images of noise, with masks of three labels or with one of five labels."""

    def __init__(self, with_masks: bool) -> None:
        self.with_masks = with_masks

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> Raw:
        image = np.random.default_rng(index).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        mask = np.where(image[..., 0] > 200, IGNORE, image[..., 1] % 3).astype(np.uint8)
        return Raw(image, mask if self.with_masks else index % 5, f"photo {index}")

    def size(self, index: int) -> tuple[int, int]:
        return 8, 8


def flip(image: np.ndarray, mask: np.ndarray | None, rng: np.random.Generator):
    step = 1 if rng.random() < 0.5 else -1
    return image[:, ::step], None if mask is None else mask[:, ::step]


def loader(
    workers: int = 0, with_masks: bool = False, rank: Rank = SINGLE_PROCESS, classes: int = 0
) -> Loader:
    """Batches of eight; the second epoch is mixed, the first is not."""
    batches = TrainingBatches(Permutation(24, 5), 8, lambda epoch, batch: min(epoch, 1), rank)
    return Loader(
        Samples(Photos(with_masks), [flip, flip], seed=5, training=True),
        batch_sampler=batches,
        collate_fn=Collate(classes=classes, mix=MixRows([PLAIN, MIXED], 5)),
        **worker_settings(workers, 5),
    )


def epoch_of(batches: Loader, epoch: int) -> list[Batch]:
    batches.batch_sampler.sampler.set_epoch(epoch)
    return list(batches)


def equal(a: list[Batch], b: list[Batch]) -> bool:
    return len(a) == len(b) and all(
        x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x if k != "key")
        for x, y in zip(a, b, strict=True)
    )


@pytest.mark.parametrize("with_masks", [True, False])
def test_workers_and_resuming_change_nothing(with_masks: bool) -> None:
    whole = loader(0, with_masks)
    expected = epoch_of(whole, 0) + epoch_of(whole, 1) + epoch_of(whole, 2)
    assert not equal(expected[3:6], expected[6:])
    stopped = loader(0, with_masks)
    stopped.batch_sampler.sampler.set_epoch(1)
    list(islice(stopped, 1))
    resumed = loader(2, with_masks)
    resumed.load_state_dict(stopped.state_dict())
    assert equal(list(resumed) + epoch_of(resumed, 2), expected[4:])


@pytest.mark.parametrize("with_masks", [True, False])
def test_two_processes_mix_the_batches_of_one(with_masks: bool) -> None:
    one = epoch_of(loader(0, with_masks), 1)
    two = [epoch_of(loader(0, with_masks, Rank(process, 2)), 1) for process in (0, 1)]
    for whole, *parts in zip(one, *two, strict=True):
        for process, part in enumerate(parts):
            for key in ("image", "target", "second", "share"):
                assert torch.equal(part[key], whole[key][process::2]), key


def test_phases_without_mixing_have_plain_batches() -> None:
    plain, mixed = (epoch_of(loader(), epoch)[0] for epoch in (0, 1))
    assert not {"second", "share"} & plain.keys()
    assert {"second", "share"} <= mixed.keys()
    assert "index" not in mixed
    assert mixed["image"].is_contiguous(memory_format=torch.channels_last)
    unmixed = mixed["share"] == 1
    assert 0 < int(unmixed.sum()) < 8
    assert torch.equal(mixed["second"][unmixed], mixed["target"][unmixed])


def test_labels_are_counted_after_mixing() -> None:
    for with_masks in (True, False):
        for batch in epoch_of(loader(0, with_masks, classes=5), 1):
            own = count_labels(batch["target"], 5, batch["second"], batch["share"])
            torch.testing.assert_close(batch["labels"], own)
            labelled = (batch["target"] != IGNORE) & (batch["second"] != IGNORE)
            assert float(own[:-1].sum()) == pytest.approx(int(labelled.sum()))


def test_a_batch_of_one_image_is_refused() -> None:
    MixRows([PLAIN], 0).check(1)
    MixRows([MIXED], 0).check(2)
    with refused("a batch needs two images"):
        MixRows([PLAIN, MIXED], 0).check(1)
