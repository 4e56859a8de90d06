"""DeepLabV3 decoder: context from dilated convolutions on the last map."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pixelwise.kinds import Count, Fraction, Stride
from pixelwise.models.decoders.base import Decoder, PooledContext, conv_bn_relu


class DeepLabV3(Decoder):
    """DeepLabV3 decoder for any encoder.

    Source: Chen et al., Rethinking Atrous Convolution for Semantic Image Segmentation (arXiv:1706.05587).

    Atrous spatial pyramid pooling works on the encoder's last map, dilated to stride 8. The default rates are
    those of the paper for stride 8. As in segmentation_models_pytorch, a 3×3 convolution follows.

    The pooling branch has a batch-norm: training needs at least two images in a batch.

    Args:
        channels: channels of the encoder's feature maps, finest first.
        strides: strides of these maps in input pixels, finest first.
        width: channels of the output and of the pyramid.
        rates: dilations of the 3×3 convolutions; the paper uses half of these values at output stride 16.
        dropout: probability that a value of the pyramid is dropped in training.
        encoder_output_stride: output stride for the encoder, read by its YAML; not used by the decoder.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        width: Count = 256,
        rates: Sequence[Count] = (12, 24, 36),
        dropout: Fraction = 0.5,
        encoder_output_stride: Stride = 8,
    ) -> None:
        super().__init__(channels, strides)
        self.used = self.used[-1:]
        self.aspp = ASPP(self.channels[-1], width, rates, dropout)
        self.refine = conv_bn_relu(width, width)
        self.out_channels = width

    def forward(self, features: list[Tensor]) -> Tensor:
        """Feature maps, finest first → (B, width, h, w) at the size of the last map."""
        return self.refine(self.aspp(features[-1]))


def dilated_conv(in_channels: int, out_channels: int, rate: int) -> nn.Sequential:
    """Return 3×3 convolution with dilation `rate` (same size) → batch-norm → ReLU."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=rate, dilation=rate, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: 1×1, dilated 3×3 convolutions and the global mean, joined by a 1×1.

    Args:
        in_channels: channels of the input map.
        width: channels of each branch and of the output.
        rates: dilation of each 3×3 convolution.
        dropout: probability that an output value is dropped in training.
        conv: makes a dilated layer from input channels, output channels and rate.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        rates: Sequence[int],
        dropout: float,
        conv: Callable[[int, int, int], nn.Module] = dilated_conv,
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList([conv_bn_relu(in_channels, width, kernel_size=1)])
        self.branches.extend(conv(in_channels, width, rate) for rate in rates)
        self.branches.append(PooledContext(in_channels, width, size=1))
        self.project = conv_bn_relu(len(self.branches) * width, width, kernel_size=1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) → (B, width, h, w)."""
        return self.dropout(self.project(torch.cat([branch(x) for branch in self.branches], dim=1)))
