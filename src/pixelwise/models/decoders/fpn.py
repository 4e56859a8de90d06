"""Feature pyramid network: add each map to the next finer one, then add all levels at stride 4."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelwise.kinds import Count, Fraction
from pixelwise.models.decoders.base import Decoder


class FPN(Decoder):
    """FPN decoder for any encoder.

    Source: Kirillov et al., Panoptic Feature Pyramid Networks, CVPR 2019 (arXiv:1901.02446).

    The pyramid of Lin et al. (CVPR 2017, arXiv:1612.03144) uses the maps of stride 4 and above. Repeated
    convolution and doubling bring each level to the finest size, where all levels are added. As in
    segmentation_models_pytorch, the pyramid itself has no 3×3 convolutions.

    Args:
        channels: channels of the encoder's feature maps, finest first.
        strides: strides of these maps in input pixels, finest first.
        pyramid_width: channels of the pyramid.
        width: output channels, a multiple of 32 (the number of groups of the group-norms).
        dropout: probability that an output channel is dropped in training.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        pyramid_width: Count = 256,
        width: Count = 128,
        dropout: Fraction = 0.2,
    ) -> None:
        super().__init__(channels, strides)
        self.finest = self.first_map(4)
        self.used = self.used[self.finest :]
        used = self.channels[self.finest :][::-1]
        self.laterals = nn.ModuleList(nn.Conv2d(c, pyramid_width, kernel_size=1) for c in used)
        stages = [max(1, len(used) - 1 - level) for level in range(len(used))]
        self.climbs = nn.ModuleList(Climb(pyramid_width, width, n) for n in stages)
        self.dropout = nn.Dropout2d(dropout)
        self.out_channels = width

    def forward(self, features: list[Tensor]) -> Tensor:
        """Feature maps, finest first → (B, width, h, w) at stride 4."""
        maps = features[self.finest :][::-1]
        sizes = [x.shape[-2:] for x in maps]
        pyramid = [self.laterals[0](maps[0])]
        for lateral, x in zip(self.laterals[1:], maps[1:], strict=True):
            pyramid.append(F.interpolate(pyramid[-1], size=x.shape[-2:], mode="nearest") + lateral(x))
        merged = [
            climb(x, sizes[level + 1 :] or sizes[-1:])
            for level, (climb, x) in enumerate(zip(self.climbs, pyramid, strict=True))
        ]
        return self.dropout(sum(merged))


class Climb(nn.Module):
    """Bring a level of the pyramid to the finest size: each convolution is followed by a resize."""

    def __init__(self, in_channels: int, out_channels: int, stages: int) -> None:
        super().__init__()
        widths = [in_channels] + [out_channels] * stages
        self.convs = nn.ModuleList(_conv_gn_relu(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor, sizes: Sequence[torch.Size]) -> Tensor:
        """(B, in_channels, h, w) → (B, out_channels, *sizes[-1]), through the other sizes."""
        for conv, size in zip(self.convs, sizes, strict=True):
            x = F.interpolate(conv(x), size=size, mode="bilinear", align_corners=True)
        return x


def _conv_gn_relu(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
        nn.GroupNorm(32, out_channels),
        nn.ReLU(inplace=True),
    )
