"""U-Net decoder: upsample to full resolution, and join the encoder's map at each stride."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelwise.kinds import Count
from pixelwise.models.decoders.base import Decoder, conv_bn_relu


class UNet(Decoder):
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
        skip_channels = dict(zip(self.strides[:-1], self.channels[:-1], strict=True))
        targets = [self.strides[-1] >> k for k in range(1, self.strides[-1].bit_length())]
        widths = [widths[0]] * (len(targets) - len(widths)) + list(widths)
        self.blocks = nn.ModuleList()
        self.skips = [self.strides.index(s) if s in skip_channels else None for s in targets]
        self.used = (*(skip for skip in self.skips if skip is not None), *self.used[-1:])
        width = self.channels[-1]
        for stride, out in zip(targets, widths, strict=False):
            joined = width + skip_channels.get(stride, 0)
            self.blocks.append(nn.Sequential(conv_bn_relu(joined, out), conv_bn_relu(out, out)))
            width = out
        self.out_channels = width

    def forward(self, features: list[Tensor]) -> Tensor:
        """Feature maps, finest first → (B, widths[-1], H, W), H×W up to rounding."""
        x = features[-1]
        for block, skip in zip(self.blocks, self.skips, strict=True):
            if skip is None:
                x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            else:
                x = F.interpolate(x, size=features[skip].shape[-2:], mode="nearest")
                x = torch.cat([x, features[skip]], dim=1)
            x = block(x)
        return x
