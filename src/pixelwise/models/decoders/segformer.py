"""SegFormer decoder: a linear layer for each map, and one for all maps together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelwise.kinds import Count
from pixelwise.models.decoders.base import Decoder, conv_bn_relu


class SegFormer(Decoder):
    """The all-MLP decoder of SegFormer (Xie et al., NeurIPS 2021, arXiv:2105.15203) for any encoder.

    Linear layers bring all maps to the same number of channels, the maps are resized to stride 4, and one
    more linear layer joins them. The linear layers are 1×1 convolutions here. As in
    segmentation_models_pytorch, a map at stride 2 is used too; the paper's encoder has none.

    Args:
        channels: channels of the encoder's feature maps, finest first.
        strides: strides of these maps in input pixels, finest first.
        width: channels of each level and of the output; the paper has 256 (B0, B1) and 768 (B2 to B5).
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], width: Count = 256) -> None:
        super().__init__(channels, strides)
        self.finest = self.first_map(4)
        self.linears = nn.ModuleList(nn.Conv2d(c, width, kernel_size=1) for c in reversed(self.channels))
        self.fuse = conv_bn_relu(len(self.channels) * width, width, kernel_size=1)
        self.out_channels = width

    def forward(self, features: list[Tensor]) -> Tensor:
        """Feature maps, finest first → (B, width, h, w) at stride 4."""
        size = features[self.finest].shape[-2:]
        levels = [
            F.interpolate(linear(x), size=size, mode="bilinear", align_corners=False)
            for linear, x in zip(self.linears, reversed(features), strict=True)
        ]
        return self.fuse(torch.cat(levels, dim=1))
