"""LinkNet decoder: a light U-Net that adds the encoder's maps instead of joining them."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from pixelwise.kinds import Count
from pixelwise.models.decoders.base import UShapedDecoder, conv_bn_relu


class LinkNet(UShapedDecoder):
    """LinkNet decoder (Chaurasia & Culurciello, VCIP 2017, arXiv:1707.03718) for any encoder.

    Starting from the coarsest map, each block doubles the resolution by a transposed convolution and adds the
    encoder's map of that stride if there is one. The last block has stride 1. As in
    segmentation_models_pytorch, the 1×1 pixel head follows; the paper's last layers double the resolution
    once more.

    Args:
        channels: channels of the encoder's feature maps, finest first.
        strides: strides of these maps in input pixels, finest first.
        width: output channels. A block that adds a map has as many channels as the map instead.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], width: Count = 32) -> None:
        super().__init__(channels, strides)
        current, skips = self.channels[-1], self.skip_channels()
        for index, skip in enumerate(skips):
            out = skip or (width if index == len(skips) - 1 else current)
            self.blocks.append(LinkNetBlock(current, out))
            current = out
        self.out_channels = current


class LinkNetBlock(nn.Module):
    """1×1 convolution to a quarter of the channels → double the size → 1×1 convolution → add the map."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        quarter = max(1, in_channels // 4)
        self.layers = nn.Sequential(
            conv_bn_relu(in_channels, quarter, kernel_size=1),
            nn.ConvTranspose2d(quarter, quarter, kernel_size=4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(quarter),
            nn.ReLU(inplace=True),
            conv_bn_relu(quarter, out_channels, kernel_size=1),
        )

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """(B, C, h, w) and the encoder's map (B, out_channels, H, W) → (B, out_channels, H, W)."""
        x = self.layers(x)
        return x if skip is None else F.interpolate(x, size=skip.shape[-2:], mode="nearest") + skip
