"""U-Net decoder: upsample to full resolution, and join the encoder's map at each stride."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pixelwise.kinds import Count
from pixelwise.models.decoders.base import UShapedDecoder, conv_bn_relu, enlarge


class UNet(UShapedDecoder):
    """U-Net decoder (Ronneberger et al., MICCAI 2015, arXiv:1505.04597) for any encoder.

    Starting from the coarsest map, each block doubles the resolution, joins the encoder's map of that
    stride if there is one, and applies two 3×3 convolutions. The last block has stride 1.

    Args:
        channels: channels of the encoder's feature maps, finest first.
        strides: strides of these maps in input pixels, finest first.
        widths: output channels of the blocks, coarsest first. A longer list is cut at its end; in a
            shorter list the first number is repeated.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        widths: Sequence[Count] = (256, 128, 64, 32, 16),
    ) -> None:
        super().__init__(channels, strides)
        width = self.channels[-1]
        for skip, out in zip(self.skip_channels(), self.widths_of_blocks(widths), strict=True):
            self.blocks.append(UNetBlock(width + skip, out))
            width = out
        self.out_channels = width


class UNetBlock(nn.Sequential):
    """Enlarge → join the encoder's map → two 3×3 convolutions."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(conv_bn_relu(in_channels, out_channels), conv_bn_relu(out_channels, out_channels))

    def forward(self, input: Tensor, skip: Tensor | None = None) -> Tensor:
        """(B, C, h, w) and, if there is one, the encoder's map → (B, out_channels, 2h, 2w)."""
        x = enlarge(input, skip)
        return super().forward(x if skip is None else torch.cat([x, skip], dim=1))
