"""Predict large images in overlapping windows, and blend the logits without seams.

Windows go from left to right and from top to bottom. Logits that a window shares with its right neighbour, or
with the row of windows below, are kept until those are predicted; all others are finished. Memory never holds
more logits than those of one batch of windows and of the overlap of two rows of windows.
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
"""Raw images (B, C, h, w) on the CPU, in the dtype of the file → logits (B, K, h, w) on any device."""


class Reader(Protocol):
    """An image that is read window by window."""

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        ...

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray | None:
        """Return pixels (height, width, C), or None if the window has only nodata."""
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
        """Return the pixels of the window, without a copy."""
        return self.image[top : top + height, left : left + width]


class Block(NamedTuple):
    """Finished logits of a part of an image; its blocks cover it once, from left to right, top to bottom."""

    top: int
    left: int
    logits: Tensor
    """(K, h, w) float32 on the model's device; valid until the next block is requested."""


class Blender:
    """Blends windows that are added one by one, from left to right, then from top to bottom."""

    def __init__(self) -> None:
        self._side = torch.empty(0)
        self._below: deque[Tensor] = deque()

    def add(self, window: Window, logits: Tensor) -> Tensor:
        """Add a window, and return the logits that no later window changes.

        Args:
            window: the next window. The first window of an image discards the rest of an unfinished image.
            logits: (..., h, w) float32 logits of the window.

        Returns:
            (..., `row.done`, `column.done`) finished logits of the window's upper left part.
        """
        row, column = window
        if row.start == column.start == 0:
            self._below.clear()
        part = logits * torch.from_numpy(row.weight[:, None] * column.weight).to(logits.device)
        if column.kept:
            part[..., : column.kept] += self._side.to(part.device)  # logits of empty windows are on the CPU
        self._side = part[..., column.done :].clone()
        part = part[..., : column.done]
        if row.kept:
            part[..., : row.kept, :] += self._below.popleft().to(part.device)
        if row.done < row.size:
            self._below.append(part[..., row.done :, :].clone())
        return part[..., : row.done, :]


@torch.inference_mode()
def blend(image: Reader, forward: Forward, tiling: Tiling, classes: int) -> Iterator[Block]:
    """Predict an image of any size.

    Args:
        image: reader of the image.
        forward: the network with its preprocessing.
        tiling: how the image is cut into windows.
        classes: K, the number of channels of the logits.

    Yields:
        One block of finished logits per window. The logits of windows that the reader returns as None are 0.
    """
    blender, windows = Blender(), tiling.windows(image.shape)
    size = min(tiling.batch_size, len(windows))
    remaining = iter(windows)
    while chunk := list(islice(remaining, size)):
        # no variable holds logits while the network processes the next batch
        blocks = map(blender.add, chunk, _predict(image, forward, chunk, size, classes))
        for row, column in chunk:
            yield Block(row.start, column.start, next(blocks))


def bands(blocks: Iterator[Block], finish: Callable[[Tensor], Tensor]) -> Iterator[tuple[int, np.ndarray]]:
    """Join blocks into bands of the image's full width.

    Args:
        blocks: blocks from `blend`.
        finish: function from logits (K, h, w) to the result (N, h, w), such as `labels`.

    Yields:
        The index of the first row of a band, and the band (N, rows, W).
    """

    def finished(block: Block) -> tuple[int, np.ndarray]:
        return block.top, finish(block.logits).cpu().numpy()

    # `map` releases a block before it requests the next; `groupby` alone would keep the logits longer
    for top, line in groupby(map(finished, blocks), key=itemgetter(0)):
        yield top, np.concatenate([part for _, part in line], axis=-1)


def labels(logits: Tensor) -> Tensor:
    """Return the most likely class (1, h, w) uint8 from logits (K, h, w)."""
    return logits.max(0, keepdim=True).indices.to(torch.uint8)


def labels_and_probabilities(logits: Tensor) -> Tensor:
    """Logits (K, h, w) → most likely class and K probabilities (255 means 1), (1 + K, h, w) uint8."""
    probabilities = logits.softmax(0).mul_(255).round_().to(torch.uint8)
    return torch.cat([labels(logits), probabilities])


def _predict(
    image: Reader, forward: Forward, windows: Sequence[Window], size: int, classes: int
) -> Iterator[Tensor]:
    """Yield logits (K, h, w) float32 of each window of a batch.

    The last batch is filled by repetition: kernels may round differently for a smaller batch.
    """
    pixels = [image.read(row.start, column.start, row.size, column.size) for row, column in windows]
    valid = [array for array in pixels if array is not None]
    if valid:
        stack = torch.from_numpy(np.stack(valid + [valid[-1]] * (size - len(valid))))
    logits = iter(forward(stack.permute(0, 3, 1, 2)).float() if valid else ())
    for (row, column), array in zip(windows, pixels, strict=True):
        yield torch.zeros(classes, row.size, column.size) if array is None else next(logits)
