"""Sliding windows over images in memory, and logits at another size than that of the image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelwise.inference.blending import Blender, Block
from pixelwise.inference.tiling import Tiling
from pixelwise.inference.tta import Network
from pixelwise.protocols import EvaluationProtocol

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
    """Resize logits (B, K, h, w), if their size differs, bilinearly and in float32."""
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    return F.interpolate(logits.float(), tuple(size), mode="bilinear", align_corners=False)


def resized_blocks(logits: Tensor, size: tuple[int, int]) -> Iterator[Block]:
    """Resize logits (K, h, w) in the same way, in blocks of `ROWS` full rows."""
    height = logits.shape[-2]
    for top in range(0, size[0], ROWS):
        at = torch.arange(top, min(top + ROWS, size[0]), device=logits.device, dtype=torch.float32)
        at = ((at + 0.5) * (height / size[0]) - 0.5).clamp(0, height - 1)
        above = at.floor().long()
        below = (above + 1).clamp(max=height - 1)
        rows = torch.lerp(logits[:, above].float(), logits[:, below].float(), (at - above)[:, None])
        yield Block(top, 0, resized(rows[None], (len(at), size[1]))[0])
