"""Normalise stored pixel values to the input of an encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pixelwise.types import FULL_SCALE


class Normalize(nn.Module):
    """Scale integers to [0, 1], then compute (image - mean) / std on the device of the image.

    Args:
        mean: mean of each channel, in units of the scaled image.
        std: standard deviation of each channel, above 0.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(list(mean), dtype=torch.float32))
        self.register_buffer("std", torch.tensor(list(std), dtype=torch.float32))

    def set(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Replace mean and std, for example with those of the training split."""
        self.mean.copy_(torch.tensor(mean))
        self.std.copy_(torch.tensor(std))

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) of any dtype → the dtype of the weights, in the same shape and memory format."""
        scale = FULL_SCALE.get(str(image.dtype).removeprefix("torch."), 1.0)
        mean, std = (v.view(-1, 1, 1) * scale for v in (self.mean, self.std))
        return ((image.to(torch.float32) - mean) / std).to(self.mean.dtype)

    def undo(self, image: Tensor) -> Tensor:
        """Convert a normalised image back to [0, 1], for display."""
        return (image * self.std.view(-1, 1, 1) + self.mean.view(-1, 1, 1)).clamp(0, 1)
