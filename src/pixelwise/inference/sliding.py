"""Sliding windows over images in memory, and logits at another size than that of the image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelwise.inference.blending import Blender, Block
from pixelwise.inference.tiling import Tiling
from pixelwise.inference.tta import Network
from pixelwise.protocol import EvaluationProtocol

ROWS = 256
"""Rows of a block of resized logits: all rows of a photograph would need gigabytes with many classes."""


class Sliding:
    """Applies a network to the windows of each image in turn, and blends the logits; used like a TTA.

    Windows at the same position in the images of a batch go through the network together.

    Args:
        tiling: the windows; its `batch_size` is not used.
    """

    def __init__(self, tiling: Tiling) -> None:
        self.tiling = tiling

    def __call__(self, network: Network, image: Tensor) -> Tensor:
        """Return the logits (B, K, H, W) of images (B, C, H, W)."""
        height, width = image.shape[-2:]
        blender, logits = Blender(), torch.empty(0)
        for window in self.tiling.windows((height, width)):
            part = blender.add(window, network(image[(..., *window.area)]).float())
            if not len(logits):
                logits = part.new_empty(*part.shape[:-2], height, width)
            row, column = window
            logits[..., row.start : row.start + row.done, column.start : column.start + column.done] = part
        return logits


def windows_of(protocol: EvaluationProtocol) -> list[Sliding]:
    """Return the sliding windows of a protocol, to be put after the TTAs; none if it has no windows."""
    if protocol.window is None:
        return []
    return [Sliding(Tiling(protocol.window, stride=protocol.steps))]


def resized(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Resize logits (..., h, w) bilinearly to `size`, as `F.interpolate` without aligned corners."""
    return logits if tuple(logits.shape[-2:]) == tuple(size) else _rows(logits, size, 0, size[0])


def resized_blocks(logits: Tensor, size: tuple[int, int]) -> Iterator[Block]:
    """Yield the same in blocks of `ROWS` rows; logits (K, h, w)."""
    for top in range(0, size[0], ROWS):
        yield Block(top, 0, _rows(logits, size, top, min(top + ROWS, size[0])))


def _rows(logits: Tensor, size: Sequence[int], top: int, bottom: int) -> Tensor:
    """Return rows `top` to `bottom` of the resized logits, which depend on few rows of the logits."""
    logits, height = logits.float(), logits.shape[-2]
    at = torch.arange(top, bottom, device=logits.device, dtype=logits.dtype)
    at = ((at + 0.5) * (height / size[0]) - 0.5).clamp(0, height - 1)
    above = at.floor().long()
    below = (above + 1).clamp(max=height - 1)
    rows = torch.lerp(logits[..., above, :], logits[..., below, :], (at - above)[:, None])
    shape = (bottom - top, size[1])
    flat = rows.reshape(1, -1, *rows.shape[-2:])
    return F.interpolate(flat, shape, mode="bilinear", align_corners=False).reshape(
        *logits.shape[:-2], *shape
    )
