"""MA-Net decoder: a U-Net with attention between positions and between channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pixelwise.kinds import Count
from pixelwise.models.decoders.base import UShapedDecoder, conv_bn_relu, enlarge
from pixelwise.models.decoders.unet import UNetBlock


class MANet(UShapedDecoder):
    """MA-Net decoder for any encoder.

    Source: Fan et al., MA-Net: A Multi-Scale Attention Network for Liver and Tumor Segmentation, IEEE Access
    2020 (doi:10.1109/ACCESS.2020.3025372).

    Attention between all positions of the coarsest map comes first; its memory grows with the square of the
    number of positions. Blocks as in the U-Net follow, which weight the channels of the enlarged map by
    attention. A block without a map of the encoder is one of the U-Net.

    Args:
        channels: channels of the encoder's feature maps, finest first.
        strides: strides of these maps in input pixels, finest first.
        widths: output channels of the blocks, coarsest first. A longer list is cut at its end; in a
            shorter list the first number is repeated.
        attention_width: channels of the two maps that are compared in the attention between positions.
        reduction: divisor of the channels in the middle of the attention between channels.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        widths: Sequence[Count] = (256, 128, 64, 32, 16),
        attention_width: Count = 64,
        reduction: Count = 16,
    ) -> None:
        super().__init__(channels, strides)
        width = self.channels[-1]
        self.centre = PositionAttention(width, attention_width)
        for skip, out in zip(self.skip_channels(), self.widths_of_blocks(widths), strict=True):
            self.blocks.append(FusionBlock(width, skip, out, reduction) if skip else UNetBlock(width, out))
            width = out
        self.out_channels = width


class PositionAttention(nn.Module):
    """Attention between all positions of a map, with a residual connection and a 3×3 convolution.

    As in segmentation_models_pytorch, one softmax covers all pairs of positions, and the result
    (B, h·w, C) is read as (B, C, h, w) without a transposition.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.key = nn.Conv2d(channels, width, kernel_size=1)
        self.query = nn.Conv2d(channels, width, kernel_size=1)
        self.value = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        self.out = nn.Conv2d(channels, channels, kernel_size=3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) → the same shape."""
        query, key, value = (conv(x).flatten(2) for conv in (self.query, self.key, self.value))
        similarity = query.transpose(1, 2) @ key
        attention = similarity.flatten(1).softmax(1).view_as(similarity)
        return self.out(x + (attention @ value.transpose(1, 2)).reshape(x.shape))


class FusionBlock(nn.Module):
    """Two convolutions → enlarge → weight the channels → join the encoder's map → two 3×3 convolutions."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int, reduction: int) -> None:
        super().__init__()
        self.reduce = nn.Sequential(
            conv_bn_relu(in_channels, in_channels), conv_bn_relu(in_channels, skip_channels, kernel_size=1)
        )
        self.skip_gate = _channel_gate(skip_channels, reduction)
        self.gate = _channel_gate(skip_channels, reduction)
        self.convs = nn.Sequential(
            conv_bn_relu(2 * skip_channels, out_channels), conv_bn_relu(out_channels, out_channels)
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(B, C, h, w) and the encoder's map (B, skip_channels, H, W) → (B, out_channels, H, W)."""
        x = enlarge(self.reduce(x), skip)
        x = x * (self.gate(x) + self.skip_gate(skip))
        return self.convs(torch.cat([x, skip], dim=1))


def _channel_gate(channels: int, reduction: int) -> nn.Sequential:
    """Return the channel weights of squeeze-and-excitation (Hu et al., CVPR 2018, arXiv:1709.01507)."""
    middle = max(1, channels // reduction)
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        nn.Conv2d(channels, middle, kernel_size=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(middle, channels, kernel_size=1),
        nn.Sigmoid(),
    )
