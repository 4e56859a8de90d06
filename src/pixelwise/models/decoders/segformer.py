"""SegFormer's decoder: a linear layer for each map, and one over all of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelwise.models.decoders.base import Decoder, conv_bn_relu


class SegFormer(Decoder):
    """Xie et al., SegFormer, NeurIPS 2021 (arXiv:2105.15203): the all-MLP decoder, on any encoder.

    Each map is brought to one width and to the size of stride 4, then a linear layer joins them. The
    linear layers are 1×1 convolutions here. As in segmentation_models_pytorch a map at stride 2 counts,
    too; the paper's encoder has none.

    Args:
        channels: of the encoder's maps, finest first.
        strides: of the encoder's maps, finest first.
        width: channels of each level and of the output; the paper has 256 (B0, B1) and 768 (B2 to B5).
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], width: int = 256) -> None:
        super().__init__(channels, strides)
        self.finest = self.first_map(4)
        self.linears = nn.ModuleList(nn.Conv2d(c, width, kernel_size=1) for c in reversed(self.channels))
        self.fuse = conv_bn_relu(len(self.channels) * width, width, kernel_size=1)
        self.out_channels = width

    def forward(self, features: list[Tensor]) -> Tensor:
        """Maps at the encoder's strides, finest first → (B, width, h, w) at stride 4."""
        size = features[self.finest].shape[-2:]
        levels = [
            F.interpolate(linear(x), size=size, mode="bilinear", align_corners=False)
            for linear, x in zip(self.linears, reversed(features), strict=True)
        ]
        return self.fuse(torch.cat(levels, dim=1))
