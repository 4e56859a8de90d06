"""DeepLabV3+ decoder: context from dilated convolutions, detail from the map at stride 4."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelwise.kinds import Count, Fraction, Stride
from pixelwise.models.decoders.base import Decoder, PooledContext, conv_bn_relu


class DeepLabV3Plus(Decoder):
    """DeepLabV3+ decoder for any encoder.

    Source: Chen et al., Encoder-Decoder with Atrous Separable Convolution, ECCV 2018 (arXiv:1802.02611).

    Atrous spatial pyramid pooling works on the encoder's last map, dilated to stride 16. Its output is
    joined with the map at stride 4. The default rates are those of the paper for stride 16;
    segmentation_models_pytorch uses 12-24-36, the paper's rates for stride 8, also at stride 16. As in
    segmentation_models_pytorch, one convolution follows the join; the paper has two.

    The pooling branch has a batch-norm: training needs at least two images in a batch.

    Args:
        channels: channels of the encoder's feature maps, finest first.
        strides: strides of these maps in input pixels, finest first.
        width: channels of the output and of the pyramid.
        low_level_width: channels to which the map at stride 4 is reduced.
        rates: dilations of the 3×3 convolutions; the paper uses twice these values at output stride 8.
        dropout: probability that a value of the pyramid is dropped in training.
        encoder_output_stride: output stride for the encoder, read by its YAML; not used by the decoder.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        width: Count = 256,
        low_level_width: Count = 48,
        rates: Sequence[Count] = (6, 12, 18),
        dropout: Fraction = 0.5,
        encoder_output_stride: Stride = 16,
    ) -> None:
        super().__init__(channels, strides)
        self.low_level = self.first_map(4)
        self.used = (self.low_level, *self.used[-1:])
        last = self.channels[-1]
        self.aspp = nn.ModuleList([conv_bn_relu(last, width, kernel_size=1)])
        self.aspp.extend(_separable_conv(last, width, rate) for rate in rates)
        self.aspp.append(PooledContext(last, width, size=1))
        self.project = nn.Sequential(
            conv_bn_relu(len(self.aspp) * width, width, kernel_size=1),
            nn.Dropout(dropout),
            _separable_conv(width, width),
        )
        self.reduce = conv_bn_relu(self.channels[self.low_level], low_level_width, kernel_size=1)
        self.fuse = _separable_conv(width + low_level_width, width)
        self.out_channels = width

    def forward(self, features: list[Tensor]) -> Tensor:
        """Feature maps, finest first → (B, width, h, w) at stride 4."""
        x = self.project(torch.cat([branch(features[-1]) for branch in self.aspp], dim=1))
        low_level = self.reduce(features[self.low_level])
        x = F.interpolate(x, size=low_level.shape[-2:], mode="bilinear", align_corners=True)
        return self.fuse(torch.cat([x, low_level], dim=1))


def _separable_conv(in_channels: int, out_channels: int, rate: int = 1) -> nn.Sequential:
    """Return 3×3 depthwise convolution → 1×1 convolution → batch-norm → ReLU."""
    depthwise = nn.Conv2d(
        in_channels, in_channels, kernel_size=3, padding=rate, dilation=rate, groups=in_channels, bias=False
    )
    return nn.Sequential(depthwise, *conv_bn_relu(in_channels, out_channels, kernel_size=1))
