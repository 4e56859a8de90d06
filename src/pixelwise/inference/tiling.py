"""Cut a large image into overlapping windows, for prediction and evaluation.

The weights of neighbouring windows follow the slopes of a Hann window, as in Pielawski and Wählby,
"Introducing Hann windows for reducing edge-effects in patch-based image segmentation", PLoS ONE 15(3), 2020.
With a stride, windows and weights are those of mmsegmentation instead: windows start at multiples of the
stride, the last one is moved back into the image, and all windows of a pixel have the same weight.

Along each axis the weights of all windows sum to 1 at every pixel, so that no division is needed afterwards.
A pixel in one window only keeps exactly the logits of that window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise, product
from operator import gt
from typing import NamedTuple

import numpy as np

from pixelwise.checks import checked
from pixelwise.errors import UserError
from pixelwise.kinds import Count, Fraction, Size, sides

GRID = 32
"""Windows start at multiples of this number of pixels, the coarsest stride of most encoders."""


class Span(NamedTuple):
    """One axis of a window, in pixels."""

    start: int
    size: int
    kept: int
    """Number of pixels at the start that earlier windows overlap."""
    done: int
    """Number of pixels at the start that no later window overlaps."""
    weight: np.ndarray
    """(size,) float32; the weights of all windows sum to 1 at each pixel."""


class Window(NamedTuple):
    """A rectangle in an image."""

    row: Span
    column: Span

    @property
    def area(self) -> tuple[slice, slice]:
        """The rectangle as an index into the image."""
        row, column = self.row, self.column
        return np.s_[row.start : row.start + row.size, column.start : column.start + column.size]


@checked
@dataclass(frozen=True)
class Tiling:
    """The size and overlap of the windows that an image is cut into.

    Args:
        window: side, or [height, width], in pixels. An image that is not larger is predicted as one window.
        overlap: smallest overlap of neighbouring windows, as a fraction of the window, from 0 to below 1.
        batch_size: number of windows per forward pass.
        stride: distance between the starts of neighbouring windows, one number or [vertical, horizontal], at
            most the window; it replaces `overlap`. None: evenly spaced windows with smooth weights.

    Raises:
        UserError: an argument is out of its range.
    """

    window: Size = 768
    overlap: Fraction = 0.25
    batch_size: Count = 1
    stride: Size | None = None

    def __post_init__(self) -> None:
        if self.stride is not None and any(map(gt, sides(self.stride), sides(self.window))):
            raise UserError("Tiling.stride", found=self.stride, expected=f"at most window={self.window}")

    def spans(self, shape: tuple[int, int]) -> tuple[list[Span], list[Span]]:
        """Return the windows along both axes of an image (H, W)."""
        windows = sides(self.window)
        if self.stride is None:
            starts = [_starts(n, side, self.overlap) for n, side in zip(shape, windows, strict=True)]
        else:
            axes = zip(shape, windows, sides(self.stride), strict=True)
            starts = [[*range(0, n - side, step), max(0, n - side)] for n, side, step in axes]
        rows, columns = (
            _spans(n, min(n, side), at, smooth=self.stride is None)
            for n, side, at in zip(shape, windows, starts, strict=True)
        )
        return rows, columns

    def windows(self, shape: tuple[int, int]) -> list[Window]:
        """Return all windows of an image (H, W), from left to right, top to bottom."""
        return [Window(*spans) for spans in product(*self.spans(shape))]

    def count(self, shape: tuple[int, int]) -> int:
        """Return the number of windows of an image (H, W)."""
        rows, columns = self.spans(shape)
        return len(rows) * len(columns)

    def memory(self, shape: tuple[int, int], classes: int) -> int:
        """Return the bytes of the logits that are kept for the next row of windows."""
        return 4 * classes * shape[1] * max(span.kept for span in self.spans(shape)[0])


def _spans(length: int, size: int, starts: list[int], smooth: bool) -> list[Span]:
    """Return the windows of one axis with their weights: equal ones, or with the slopes of a Hann window."""
    kept = [0, *(start + size - later for start, later in pairwise(starts))]
    shared = [*kept[1:], 0]
    weights = []
    for before, after in zip(kept, shared, strict=True):
        weight = np.ones(size)
        if smooth:
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
    """Return the starts of the smallest number of windows, evenly spaced, all but the last on the grid."""
    if length <= window:
        return [0]
    step = max(1, window - math.ceil(window * overlap))
    step -= step % GRID if step > GRID else 0
    grid = math.gcd(step, GRID)
    last = length - window
    intervals = -(-last // step)
    return [*(-(-i * last // (intervals * grid)) * grid for i in range(intervals)), last]


def _rise(length: int) -> np.ndarray:
    """Return the rising half of a Hann window at the centres of `length` pixels."""
    return np.sin(np.pi / 2 * (np.arange(length) + 0.5) / max(length, 1)) ** 2
