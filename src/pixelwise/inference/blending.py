"""Large images through overlapping windows, blended without seams.

Windows go from left to right and from top to bottom. What a window shares with its right neighbour waits for
that neighbour, what it shares with the row below waits for that row, and the rest is finished: at no time are
there more logits than those of a batch of windows and of the rows in which two rows of windows overlap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, islice
from operator import itemgetter
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from pixelwise.inference.tiling import Tiling, Window

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


class Block(NamedTuple):
    """Finished logits of a part of the image. The blocks of an image cover it once, in reading order."""

    top: int
    left: int
    logits: Tensor
    """(K, h, w) float32, on the model's device; valid until the next block is asked for."""


class Blender:
    """Puts windows together that come one by one in reading order, image after image.

    Sums run from left to right, then from top to bottom.
    """

    def __init__(self) -> None:
        self._side = torch.empty(0)
        self._below: deque[Tensor] = deque()

    def add(self, window: Window, logits: Tensor) -> Tensor:
        """What no later window reaches.

        Args:
            window: the next one. The first of an image drops what is left of another that was broken off.
            logits: its (K, h, w) float32.

        Returns:
            (K, `row.done`, `column.done`) finished logits of the window's upper left part.
        """
        row, column = window
        if row.start == column.start == 0:
            self._below.clear()
        part = logits * torch.from_numpy(row.weight[:, None] * column.weight).to(logits.device)
        if column.kept:
            part[..., : column.kept] += self._side.to(part.device)  # windows not predicted are on the CPU
        self._side = part[..., column.done :].clone()
        part = part[..., : column.done]
        if row.kept:
            part[:, : row.kept] += self._below.popleft().to(part.device)
        if row.done < row.size:
            self._below.append(part[:, row.done :].clone())
        return part[:, : row.done]


@torch.inference_mode()
def blend(image: Reader, forward: Forward, tiling: Tiling, classes: int) -> Iterator[Block]:
    """Predict an image of any size.

    Args:
        image: gives its windows.
        forward: the network with its preprocessing.
        tiling: the windows.
        classes: K, the channels of the logits.

    Yields:
        Blocks of logits as they are finished, one a window. Windows that are None have logits of 0.
    """
    blender, windows = Blender(), tiling.windows(image.shape)
    size = min(tiling.batch_size, len(windows))
    waiting = iter(windows)
    while chunk := list(islice(waiting, size)):
        # no variable keeps logits while the next batch is on its way through the network
        blocks = map(blender.add, chunk, _look(image, forward, chunk, size, classes))
        for row, column in chunk:
            yield Block(row.start, column.start, next(blocks))


def bands(blocks: Iterator[Block], finish: Callable[[Tensor], Tensor]) -> Iterator[tuple[int, np.ndarray]]:
    """Join blocks into bands of the image's full width.

    Args:
        blocks: of `blend`.
        finish: logits (K, h, w) → what is wanted of them (N, h, w), such as `labels`.

    Yields:
        The top row of a band and the band (N, rows, W).
    """

    def finished(block: Block) -> tuple[int, np.ndarray]:
        return block.top, finish(block.logits).cpu().numpy()

    # `map` lets go of a block before it asks for the next; `groupby` would keep its logits for so long
    for top, line in groupby(map(finished, blocks), key=itemgetter(0)):
        yield top, np.concatenate([part for _, part in line], axis=-1)


def labels(logits: Tensor) -> Tensor:
    """The best class (1, h, w) uint8 of logits (K, h, w)."""
    return logits.max(0, keepdim=True).indices.to(torch.uint8)


def labels_and_probabilities(logits: Tensor) -> Tensor:
    """The best class, then the probability of each, 255 being 1: logits (K, h, w) → (1 + K, h, w) uint8."""
    probabilities = logits.softmax(0).mul_(255).round_().to(torch.uint8)
    return torch.cat([labels(logits), probabilities])


def _look(
    image: Reader, forward: Forward, windows: Sequence[Window], size: int, classes: int
) -> Iterator[Tensor]:
    """Logits (K, h, w) float32 of each window of a batch.

    Every batch has the full size, the last one by repetition: kernels may round otherwise in a smaller one.
    """
    pixels = [image.read(row.start, column.start, row.size, column.size) for row, column in windows]
    seen = [shown for shown in pixels if shown is not None]
    if seen:
        stack = torch.from_numpy(np.stack(seen + [seen[-1]] * (size - len(seen))))
    answers = iter(forward(stack.permute(0, 3, 1, 2)).float() if seen else ())
    for (row, column), shown in zip(windows, pixels, strict=True):
        yield torch.zeros(classes, row.size, column.size) if shown is None else next(answers)
