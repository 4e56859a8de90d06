"""PSPNet: the last map beside its means over coarse grids."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pixelwise.models.decoders.base import Decoder, PooledContext, conv_bn_relu


class PSPNet(Decoder):
    """Zhao et al., Pyramid Scene Parsing Network, CVPR 2017 (arXiv:1612.01105).

    Works on the encoder's last map, dilated to stride 8 as in the paper; segmentation_models_pytorch
    cuts the encoder off at stride 8 instead (`encoder_depth=3`). As there, the global mean has no
    batch-norm, so that one image at a time can be trained on, and a 1×1 convolution joins the levels,
    where the authors' code has a 3×3 one.

    Args:
        channels: of the encoder's maps, finest first.
        strides: of the encoder's maps, finest first.
        width: output channels.
        sizes: bins along each side, one number for each level of the pyramid.
        dropout: share of the output's channels that training drops.
        encoder_output_stride: what the encoder's YAML reads; the decoder takes the map as it comes.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        width: int = 512,
        sizes: Sequence[int] = (1, 2, 3, 6),
        dropout: float = 0.2,
        encoder_output_stride: int = 8,
    ) -> None:
        super().__init__(channels, strides)
        self.used = self.used[-1:]
        last = self.channels[-1]
        pooled = last // len(sizes)
        self.levels = nn.ModuleList(
            PooledContext(last, pooled, size, norm=size > 1, align_corners=True) for size in sizes
        )
        self.fuse = conv_bn_relu(len(sizes) * pooled + last, width, kernel_size=1)
        self.dropout = nn.Dropout2d(dropout)
        self.out_channels = width

    def forward(self, features: list[Tensor]) -> Tensor:
        """Maps at the encoder's strides, finest first → (B, width, h, w) at the last one's size."""
        x = features[-1]
        return self.dropout(self.fuse(torch.cat([*(level(x) for level in self.levels), x], dim=1)))
