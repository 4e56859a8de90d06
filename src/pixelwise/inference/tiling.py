"""Large images through overlapping windows, blended without seams.

Windows go from left to right and from top to bottom. What a window shares with its right neighbour waits for
that neighbour, what it shares with the row below waits for that row, and the rest is finished: at no time are
there more logits than those of a batch of windows and of the rows in which two rows of windows overlap.

Neighbours fade into each other with the flanks of a Hann window, as in Pielawski and Wählby, "Introducing
Hann windows for reducing edge-effects in patch-based image segmentation", PLoS ONE 15(3), 2020. Along each
axis the weights of all windows sum to 1 at every pixel, so nothing is divided afterwards, and a pixel that
only one window sees keeps its logits to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice, pairwise, product
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from pixelwise.errors import UserError

GRID = 32
"""Windows start at multiples of it: the coarsest stride of most encoders, whose grids then agree."""

Forward = Callable[[Tensor], Tensor]
"""Raw images (B, C, h, w) on the CPU, in the source's dtype → logits (B, K, h, w) on any device."""


class Reader(Protocol):
    """An image that is read window by window."""

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        ...

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray | None:
        """Pixels (height, width, C), or None where there is nothing to predict."""
        ...


class Pixels:
    """A `Reader` of an array (H, W, C), which may be memory-mapped."""

    def __init__(self, image: np.ndarray) -> None:
        self.image = image

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self.image.shape[0], self.image.shape[1]

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """A view of the window."""
        return self.image[top : top + height, left : left + width]


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


class Block(NamedTuple):
    """Finished logits of a part of the image. The blocks of an image cover it once, in reading order."""

    top: int
    left: int
    logits: Tensor
    """(K, h, w) float32, on the model's device; valid until the next block is asked for."""


@dataclass(frozen=True)
class Tiling:
    """How an image is cut into windows.

    Args:
        window: side, or [height, width], in pixels. An image that is no larger goes through as it is.
        overlap: share of the window that it has at least in common with the next one, below 1.
        batch_size: windows that go through the network at once.

    Raises:
        UserError: one of them is impossible.
    """

    window: int | Sequence[int] = 768
    overlap: float = 0.25
    batch_size: int = 1

    def __post_init__(self) -> None:
        sides = [self.window] * 2 if isinstance(self.window, int) else list(self.window)
        if len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
            raise UserError(
                "window", found=self.window, expected="a number of pixels above 0, or [height, width]"
            )
        if isinstance(self.overlap, bool) or not 0 <= self.overlap < 1:
            raise UserError("overlap", found=self.overlap, expected="a share of the window from 0 to below 1")
        if type(self.batch_size) is not int or self.batch_size < 1:
            raise UserError("batch_size", found=self.batch_size, expected="a whole number of at least 1")

    def spans(self, shape: tuple[int, int]) -> tuple[list[Span], list[Span]]:
        """Windows along both axes of an image (H, W)."""
        sides = [self.window] * 2 if isinstance(self.window, int) else self.window
        rows, columns = (_spans(n, side, self.overlap) for n, side in zip(shape, sides, strict=True))
        return rows, columns

    def count(self, shape: tuple[int, int]) -> int:
        """Number of windows."""
        rows, columns = self.spans(shape)
        return len(rows) * len(columns)

    def memory(self, shape: tuple[int, int], classes: int) -> int:
        """Bytes of logits that wait for the next row of windows."""
        return 4 * classes * shape[1] * max(span.kept for span in self.spans(shape)[0])


@torch.inference_mode()
def blend(image: Reader, forward: Forward, tiling: Tiling, classes: int) -> Iterator[Block]:
    """Predict an image of any size.

    Sums run from left to right, then from top to bottom, whatever the batches were.

    Args:
        image: gives its windows.
        forward: the network with its preprocessing.
        tiling: the windows.
        classes: K, the channels of the logits.

    Yields:
        Blocks of logits as they are finished, one a window. Windows that are None have logits of 0.
    """
    rows, columns = tiling.spans(image.shape)
    below = torch.empty(classes, max(span.kept for span in rows), image.shape[1])
    side = torch.empty(classes, rows[0].size, 0)
    for (row, column), logits in _windows(image, forward, rows, columns, tiling.batch_size, classes):
        below, side = below.to(logits.device), side.to(logits.device)  # known after the first forward
        weight = torch.from_numpy(row.weight[:, None] * column.weight).to(logits.device)
        part = logits * weight
        part[..., : column.kept] += side
        side = part[..., column.done :].clone()
        part = part[..., : column.done]
        place = np.s_[:, :, column.start : column.start + column.done]
        part[:, : row.kept] += below[place][:, : row.kept]
        below[place][:, : row.size - row.done] = part[:, row.done :]
        yield Block(row.start, column.start, part[:, : row.done])


def bands(blocks: Iterator[Block], finish: Callable[[Tensor], Tensor]) -> Iterator[tuple[int, np.ndarray]]:
    """Join blocks into bands of the image's full width.

    Args:
        blocks: of `blend`.
        finish: logits (K, h, w) → what is wanted of them (N, h, w), such as `labels`.

    Yields:
        The top row of a band and the band (N, rows, W).
    """
    for top, line in groupby(blocks, key=lambda block: block.top):
        yield top, np.concatenate([finish(block.logits).cpu().numpy() for block in line], axis=-1)


def labels(logits: Tensor) -> Tensor:
    """The best class (1, h, w) uint8 of logits (K, h, w)."""
    return logits.max(0, keepdim=True).indices.to(torch.uint8)


def labels_and_probabilities(logits: Tensor) -> Tensor:
    """The best class, then the probability of each, 255 being 1: logits (K, h, w) → (1 + K, h, w) uint8."""
    probabilities = logits.softmax(0).mul_(255).round_().to(torch.uint8)
    return torch.cat([labels(logits), probabilities])


def _windows(
    image: Reader,
    forward: Forward,
    rows: Sequence[Span],
    columns: Sequence[Span],
    batch_size: int,
    classes: int,
) -> Iterator[tuple[tuple[Span, Span], Tensor]]:
    """Each window, in reading order, with its logits (K, h, w) float32.

    Every batch is full, the last one by repetition: kernels may round otherwise in a smaller one.
    """
    places = product(rows, columns)
    size = min(batch_size, len(rows) * len(columns))
    device: torch.device | None = None
    while chunk := list(islice(places, size)):
        pixels = [image.read(row.start, column.start, row.size, column.size) for row, column in chunk]
        seen = [window for window in pixels if window is not None]
        if seen:
            stack = np.stack(seen + [seen[-1]] * (size - len(seen)))
            logits = forward(torch.from_numpy(stack).permute(0, 3, 1, 2)).float()
            device = logits.device
        answers = iter(logits if seen else ())
        for place, window in zip(chunk, pixels, strict=True):
            shape = (classes, place[0].size, place[1].size)
            yield place, torch.zeros(shape, device=device) if window is None else next(answers)


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
