"""UNet++ decoder: a U-Net with nested skip connections."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelwise.kinds import Count
from pixelwise.models.decoders.base import Decoder, conv_bn_relu


class UNetPlusPlus(Decoder):
    """UNet++ decoder (Zhou et al., DLMIA 2018, arXiv:1807.10165) for any encoder, without deep supervision.

    Node X[i, 0] is the encoder's map i. Node X[i, j] joins X[i, 0] … X[i, j - 1] with X[i + 1, j - 1] from
    the next coarser map, and applies two 3×3 convolutions. Plain blocks continue from the last node of the
    finest map to stride 1.

    Args:
        channels: channels of the encoder's feature maps, finest first.
        strides: strides of these maps in input pixels, finest first.
        widths: output channels of the last node of each map, coarsest first, then of the plain blocks;
            the other nodes have as many channels as their map. A longer list is cut at its end; in a
            shorter list the first number is repeated.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        widths: Sequence[Count] = (256, 128, 64, 32, 16),
    ) -> None:
        super().__init__(channels, strides)
        last = len(self.channels) - 1
        doublings = self.strides[0].bit_length() - 1
        widths = [widths[0]] * (last + doublings - len(widths)) + list(widths)

        def width(i: int, j: int) -> int:
            return widths[last - 1 - i] if j and i + j == last else self.channels[i]

        self.nodes = nn.ModuleDict()
        for i in range(last - 1, -1, -1):
            for j in range(last - i, 0, -1):
                joined = width(i + 1, j - 1) + j * self.channels[i]
                self.nodes[f"{i}_{j}"] = _block(joined, width(i, j))
        widths = [width(0, last), *widths[last : last + doublings]]
        self.blocks = nn.ModuleList(_block(a, b) for a, b in pairwise(widths))
        self.out_channels = widths[-1]

    def forward(self, features: list[Tensor]) -> Tensor:
        """Feature maps, finest first → (B, widths[-1], H, W), H×W up to rounding."""
        nodes = [[feature] for feature in features]
        for j in range(1, len(features)):
            for i in range(len(features) - j):
                x = F.interpolate(nodes[i + 1][j - 1], size=features[i].shape[-2:], mode="nearest")
                nodes[i].append(self.nodes[f"{i}_{j}"](torch.cat([x, *reversed(nodes[i])], dim=1)))
        x = nodes[0][-1]
        for block in self.blocks:
            x = block(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return x


def _block(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(conv_bn_relu(in_channels, out_channels), conv_bn_relu(out_channels, out_channels))
