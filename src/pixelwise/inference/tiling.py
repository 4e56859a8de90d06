"""How a large image is cut into windows that overlap, to predict it and to score it.

Neighbours fade into each other with the flanks of a Hann window, as in Pielawski and Wählby, "Introducing
Hann windows for reducing edge-effects in patch-based image segmentation", PLoS ONE 15(3), 2020. Along each
axis the weights of all windows sum to 1 at every pixel, so nothing is divided afterwards, and a pixel that
only one window sees keeps its logits to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import InitVar, dataclass
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np

from pixelwise import checks

GRID = 32
"""Windows start at multiples of it: the coarsest stride of most encoders, whose grids then agree."""


class Span(NamedTuple):
    """A window along one axis."""

    start: int
    size: int
    kept: int
    """Pixels at its beginning that earlier windows reach into."""
    done: int
    """Pixels at its beginning that no later window reaches."""
    weight: np.ndarray
    """(size,) float32; over all windows these sum to 1 at each pixel."""


class Window(NamedTuple):
    """A rectangle of an image."""

    row: Span
    column: Span

    @property
    def area(self) -> tuple[slice, slice]:
        """Its place in the image."""
        row, column = self.row, self.column
        return np.s_[row.start : row.start + row.size, column.start : column.start + column.size]


@dataclass(frozen=True)
class Tiling:
    """How an image is cut into windows.

    Args:
        window: side, or [height, width], in pixels. An image that is no larger goes through as it is.
        overlap: share of the window that it has at least in common with the next one, below 1.
        batch_size: windows that go through the network at once.
        key: what stands before the arguments' names in messages, such as "data.source.".

    Raises:
        UserError: one of them is impossible.
    """

    window: int | Sequence[int] = 768
    overlap: float = 0.25
    batch_size: int = 1
    key: InitVar[str] = ""

    def __post_init__(self, key: str) -> None:
        share = "a share of the window, from 0 to below 1"
        checks.extent(f"{key}window", self.window)
        checks.number(f"{key}overlap", self.overlap, 0, below=1, expected=share)
        checks.whole(f"{key}batch_size", self.batch_size, 1)

    def spans(self, shape: tuple[int, int]) -> tuple[list[Span], list[Span]]:
        """Windows along both axes of an image (H, W)."""
        sides = checks.extent("window", self.window)
        rows, columns = (_spans(n, side, self.overlap) for n, side in zip(shape, sides, strict=True))
        return rows, columns

    def windows(self, shape: tuple[int, int]) -> list[Window]:
        """All windows of an image (H, W), in reading order."""
        return [Window(*both) for both in product(*self.spans(shape))]

    def count(self, shape: tuple[int, int]) -> int:
        """Number of windows."""
        rows, columns = self.spans(shape)
        return len(rows) * len(columns)

    def memory(self, shape: tuple[int, int], classes: int) -> int:
        """Bytes of logits that wait for the next row of windows."""
        return 4 * classes * shape[1] * max(span.kept for span in self.spans(shape)[0])


def _spans(length: int, window: int, overlap: float) -> list[Span]:
    """Windows along an axis: as few as the overlap allows, evenly spread, on the grid but for the last."""
    starts = _starts(length, window, overlap)
    size = min(window, length)
    kept = [0, *(start + size - later for start, later in pairwise(starts))]
    shared = [*kept[1:], 0]
    weights = []
    for before, after in zip(kept, shared, strict=True):
        weight = np.ones(size)
        weight[:before] *= _rise(before)
        weight[size - after :] *= _rise(after)[::-1]
        weights.append(weight)
    total = np.zeros(length)
    for start, weight in zip(starts, weights, strict=True):
        total[start : start + size] += weight
    return [
        Span(start, size, before, size - after, (weight / total[start : start + size]).astype(np.float32))
        for start, before, after, weight in zip(starts, kept, shared, weights, strict=True)
    ]


def _starts(length: int, window: int, overlap: float) -> list[int]:
    if length <= window:
        return [0]
    step = max(1, window - math.ceil(window * overlap))
    step -= step % GRID if step > GRID else 0
    grid = math.gcd(step, GRID)
    last = length - window
    intervals = -(-last // step)
    return [*(-(-i * last // (intervals * grid)) * grid for i in range(intervals)), last]


def _rise(length: int) -> np.ndarray:
    """The rising flank of a Hann window, in the middle of each of `length` pixels."""
    return np.sin(np.pi / 2 * (np.arange(length) + 0.5) / max(length, 1)) ** 2
