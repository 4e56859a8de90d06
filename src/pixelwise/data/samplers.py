"""Order and random numbers of samples: functions of (seed, phase, epoch, index) only.

The sampler tells the workers everything that a sample depends on, so that 0 or 8 workers, a first
run or a resumed one, draw the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, groupby
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from pixelwise.errors import UserError


class Draw(NamedTuple):
    """Which sample, and under which circumstances it is drawn."""

    phase: int
    epoch: int
    sample: int
    valid: bool = True
    """False for a copy that only gives this process as many batches as the others have."""


class Share(NamedTuple):
    """Which of several processes this is."""

    rank: int = 0
    of: int = 1


ALL = Share()


def generator(seed: int, draw: Draw) -> np.random.Generator:
    """The random numbers of one sample: NumPy's Philox, a counter-based generator.

    (Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011.)
    """
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, draw.phase, draw.epoch, draw.sample]))


class Permutation(Sampler[int]):
    """All indices in an order that depends on (seed, epoch) only."""

    def __init__(self, length: int, seed: int) -> None:
        self.length = length
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        rng = np.random.Generator(np.random.Philox(key=self.seed, counter=[1, 0, self.epoch, 0]))
        yield from rng.permutation(self.length).tolist()


class TrainingBatches(Sampler[list[Draw]]):
    """Shuffled full batches; the few samples left over wait for another epoch's order.

    Args:
        sampler: gives the order; exposed under this name so that Lightning calls its `set_epoch`.
        batch_size: of all processes together; of a split smaller than this, all samples make one batch.
        phase_of: (epoch, batch) → index of the phase that draws the batch.
        share: of each batch that this process trains on. The batches do not depend on it.
        in_step: the first batch of an optimizer step, as its index in the epoch → number of batches of this
            step; None where each batch is a step.
    """

    def __init__(
        self,
        sampler: Permutation,
        batch_size: int,
        phase_of: Callable[[int, int], int],
        share: Share = ALL,
        in_step: Callable[[int], int] | None = None,
    ) -> None:
        self.sampler = sampler
        self.batch_size = min(batch_size, len(sampler))
        if self.batch_size % share.of:
            raise UserError(
                f"data.batch_size={batch_size} cannot be shared by {share.of} processes",
                found=f"{self.batch_size} samples a step",
                expected=f"a multiple of {share.of}, as it counts the samples of all processes together",
            )
        self.phase_of = phase_of
        self.share = share
        self.in_step = in_step
        self.first = 0

    def __len__(self) -> int:
        return len(self.sampler) // self.batch_size

    def __iter__(self) -> Iterator[list[Draw]]:
        epoch, order = self.sampler.epoch, list(self.sampler)
        first, self.first = self.first, 0  # only the epoch that was resumed starts in its middle
        for batch in range(first, len(self)):
            phase = self.phase_of(epoch, batch)
            indices = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            indices = indices[self.share.rank :: self.share.of]
            yield [Draw(phase, epoch, index) for index in indices]


class EvaluationBatches(Sampler[list[Draw]]):
    """Every sample once, in order, each batch of one image size.

    Several processes take whole batches in turn, so that each batch is the same however many there are; of
    large images they take all batches, whose windows are put together.

    Args:
        sizes: (H, W) of each sample.
        batch_size: samples at a time.
        share: of the batches that this process takes; copies fill it up to the largest.
        tile_of: the number of the large image that each sample is a window of.
    """

    def __init__(
        self,
        sizes: Sequence[tuple[int, int]],
        batch_size: int,
        share: Share = ALL,
        tile_of: Sequence[int] | None = None,
    ) -> None:
        self.sizes, self.batch_size = sizes, batch_size
        of_one = [(size, tile_of[i] if tile_of else 0) for i, size in enumerate(sizes)]
        order = sorted(range(len(sizes)), key=lambda i: of_one[i])  # stable: in order within a size
        runs = [[Draw(0, 0, i) for i in run] for _, run in groupby(order, key=lambda i: of_one[i])]
        cut = [[run[start : start + batch_size] for start in range(0, len(run), batch_size)] for run in runs]
        units = cut if tile_of else [[batch] for run in cut for batch in run]
        shares = [list(chain.from_iterable(units[rank :: share.of])) for rank in range(share.of)]
        copies = [draw._replace(valid=False) for draw in units[-1][-1]]
        self.batches = shares[share.rank]
        self.batches += [copies] * (max(map(len, shares)) - len(self.batches))

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[Draw]]:
        yield from self.batches
