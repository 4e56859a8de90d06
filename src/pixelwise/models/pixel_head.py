"""The head for one label per pixel: a 1×1 convolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelwise.kinds import Fraction


class PixelHead(nn.Module):
    """1×1 convolution → bilinear resize to the image's size: (B, D, h, w) → logits (B, K, H, W).

    A 1×1 convolution is the linear layer of a classifier applied at each position (Long et al., Fully
    Convolutional Networks, CVPR 2015).

    Args:
        in_channels: D.
        num_classes: K.
        dropout: probability that a channel is dropped in training.
        encoder: the encoder; not used.
    """

    def __init__(
        self, in_channels: int, num_classes: int, dropout: Fraction = 0.0, encoder: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout2d(dropout)
        self.conv = nn.Conv2d(in_channels, num_classes, kernel_size=1)

    def forward(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """Return logits for each pixel of an image of `size` (H, W)."""
        logits = self.conv(self.dropout(features))
        if not torch.compiler.is_exporting() and logits.shape[-2:] == size:  # a graph must fit every size
            return logits
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)

    def linear_input(self, features: Tensor) -> Tensor:
        """Return the map (B, D, h, w) itself, which the convolution takes."""
        return features
