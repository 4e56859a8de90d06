"""PSPNet decoder: the last map together with its means over coarse grids."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pixelwise.kinds import Count, Fraction, Stride
from pixelwise.models.decoders.base import Decoder, PooledContext, conv_bn_relu


class PSPNet(Decoder):
    """PSPNet decoder for any encoder.

    Source: Zhao et al., Pyramid Scene Parsing Network, CVPR 2017 (arXiv:1612.01105).

    The decoder works on the encoder's last map, dilated to stride 8 as in the paper;
    segmentation_models_pytorch cuts the encoder off at stride 8 instead (`encoder_depth=3`). As in
    segmentation_models_pytorch, the global mean has no batch-norm, so that a batch of one image can be
    trained on, and a 1×1 convolution joins the levels; the authors' code has a 3×3 convolution.

    Args:
        channels: channels of the encoder's feature maps, finest first.
        strides: strides of these maps in input pixels, finest first.
        width: output channels.
        sizes: number of bins along each side, for each level of the pyramid.
        dropout: probability that an output channel is dropped in training.
        encoder_output_stride: output stride for the encoder, read by its YAML; not used by the decoder.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        width: Count = 512,
        sizes: Sequence[Count] = (1, 2, 3, 6),
        dropout: Fraction = 0.2,
        encoder_output_stride: Stride = 8,
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
        """Feature maps, finest first → (B, width, h, w) at the size of the last map."""
        x = features[-1]
        return self.dropout(self.fuse(torch.cat([*(level(x) for level in self.levels), x], dim=1)))
