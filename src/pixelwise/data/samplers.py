"""The order and the random numbers of samples, as functions of (seed, phase, epoch, index) only.

The sampler passes to the workers everything that a sample depends on, so that the random numbers are the same
with 0 or 8 workers, and in a first or a resumed run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, groupby
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from pixelwise.errors import UserError
from pixelwise.types import IGNORE


class SampleIndex(NamedTuple):
    """The index of a sample, with the phase and the epoch in which it is read."""

    phase: int
    epoch: int
    sample: int
    valid: bool = True
    """False for a copy, which only gives all processes the same number of batches."""
    repeat: int = 0
    """How often the sample was read before in this epoch."""


class Rank(NamedTuple):
    """The number of this process among all processes."""

    process: int = 0
    processes: int = 1


SINGLE_PROCESS = Rank()


def generator(seed: int, index: SampleIndex, stream: int = 0) -> np.random.Generator:
    """Return the random number generator of one sample: NumPy's Philox, a counter-based generator.

    (Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011.)

    Args:
        seed: seed of the run.
        index: the sample.
        stream: 0 for the augmentation of the sample, 1 for its mixing with others.
    """
    counter = [0, index.phase + (index.repeat << 32), index.epoch, index.sample]
    return np.random.Generator(np.random.Philox(key=seed + (stream << 64), counter=counter))


class Permutation(Sampler[int]):
    """All indices in a random order that depends on (seed, epoch) only."""

    def __init__(self, length: int, seed: int) -> None:
        self.length = length
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; the trainer calls this before each one."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        yield from self._generator().permutation(self.length).tolist()

    def _generator(self) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=self.seed, counter=[1, 0, self.epoch, 0]))


class Balanced(Permutation):
    """As many indices as samples, with more of rare classes, in a random order of (seed, epoch) only.

    A class of n samples has a share of the epoch in proportion to n^(1 - strength), rounded at random (Kang
    et al. 2020, "Decoupling Representation and Classifier", whose q is 1 - strength). Within a class, no
    sample is used once more before each was used equally often.

    Args:
        labels: class index of each sample; samples with the ignored label are not used.
        seed: seed of the run.
        strength: 0 keeps the shares of the classes, 1 makes them equal.
        ignored: the ignored label.
    """

    def __init__(self, labels: Sequence[int], seed: int, strength: float, ignored: int = IGNORE) -> None:
        super().__init__(len(labels), seed)
        array = np.array(labels)
        self.members = [np.flatnonzero(array == label) for label in np.unique(array) if label != ignored]
        sizes = np.array([len(members) for members in self.members], np.float64) ** (1 - strength)
        self.ends = np.append(0.0, sizes.cumsum() / sizes.sum()) * self.length

    def __iter__(self) -> Iterator[int]:
        rng = self._generator()
        # one random offset for all classes rounds their numbers up or down and keeps the sum
        counts = np.diff(np.floor(self.ends + rng.random())).astype(int)
        drawn: list[int] = []
        for members, count in zip(self.members, counts, strict=True):
            rounds = [rng.permutation(members) for _ in range(1 + count // len(members))]
            drawn += np.concatenate(rounds)[:count].tolist()
        yield from rng.permutation(drawn).tolist()


class TrainingBatches(Sampler[list[SampleIndex]]):
    """Shuffled full batches; samples left over are not used in this epoch.

    Args:
        sampler: the order of the samples; Lightning finds it under this name and calls its `set_epoch`.
        batch_size: samples per batch, over all processes together; a smaller split makes a single batch.
        phase_of: (epoch, batch) → index of the phase that the batch belongs to.
        rank: this process, which takes its part of each batch. The batches do not depend on it.
        in_step: index (in the epoch) of the first batch of an optimizer step → number of batches of the step;
            None if each batch is a step.
    """

    def __init__(
        self,
        sampler: Permutation,
        batch_size: int,
        phase_of: Callable[[int, int], int],
        rank: Rank = SINGLE_PROCESS,
        in_step: Callable[[int], int] | None = None,
    ) -> None:
        self.sampler = sampler
        self.batch_size = min(batch_size, len(sampler))
        if self.batch_size % rank.processes:
            raise UserError(
                f"data.batch_size={batch_size} cannot be divided among {rank.processes} processes",
                found=f"{self.batch_size} samples per batch",
                expected=f"a multiple of {rank.processes}: it counts the samples of all processes together",
            )
        self.phase_of = phase_of
        self.rank = rank
        self.in_step = in_step
        self.first = 0

    def __len__(self) -> int:
        return len(self.sampler) // self.batch_size

    def __iter__(self) -> Iterator[list[SampleIndex]]:
        epoch, order = self.sampler.epoch, list(self.sampler)
        repeats = _repeats(order)
        first, self.first = self.first, 0  # only a resumed epoch starts in the middle
        for batch in range(first, len(self)):
            phase = self.phase_of(epoch, batch)
            places = range(batch * self.batch_size, (batch + 1) * self.batch_size)
            own = places[self.rank.process :: self.rank.processes]
            yield [SampleIndex(phase, epoch, order[place], repeat=repeats[place]) for place in own]


def _repeats(order: Sequence[int]) -> list[int]:
    """For each element, how many equal ones come before it."""
    seen: dict[int, int] = defaultdict(int)
    repeats = []
    for index in order:
        repeats.append(seen[index])
        seen[index] += 1
    return repeats


class EvaluationBatches(Sampler[list[SampleIndex]]):
    """Every sample once, in order; the images of a batch have one size.

    Processes take whole batches in turn, so that the batches do not depend on the number of processes. All
    batches of a large image go to the same process, which joins its windows.

    Args:
        sizes: (H, W) of each sample.
        batch_size: samples per batch.
        rank: this process; copies marked invalid give all processes the same number of batches.
        tile_of: for each sample, the index of the large image that it is a window of.
    """

    def __init__(
        self,
        sizes: Sequence[tuple[int, int]],
        batch_size: int,
        rank: Rank = SINGLE_PROCESS,
        tile_of: Sequence[int] | None = None,
    ) -> None:
        self.sizes, self.batch_size = sizes, batch_size
        key = [(size, tile_of[i] if tile_of else 0) for i, size in enumerate(sizes)]
        order = sorted(range(len(sizes)), key=key.__getitem__)  # stable: in order within a size
        groups = [[SampleIndex(0, 0, i) for i in group] for _, group in groupby(order, key=key.__getitem__)]
        cut = [[group[i : i + batch_size] for i in range(0, len(group), batch_size)] for group in groups]
        units = cut if tile_of else [[batch] for batches in cut for batch in batches]
        by_rank = [
            list(chain.from_iterable(units[index :: rank.processes])) for index in range(rank.processes)
        ]
        copies = [sample._replace(valid=False) for sample in units[-1][-1]]
        self.batches = by_rank[rank.process]
        self.batches += [copies] * (max(map(len, by_rank)) - len(self.batches))

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[SampleIndex]]:
        yield from self.batches
