"""A feature pyramid for encoders that have a single scale."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from timm.layers import LayerNorm2d
from torch import Tensor, nn


class SimplePyramid(nn.Module):
    """Four scales from the maps of a plain vision transformer, all of stride p.

    The simple feature pyramid of Li et al., Exploring Plain Vision Transformer Backbones for Object
    Detection (ViTDet, ECCV 2022; arXiv:2203.16527): strides p/4 and p/2 by transposed convolutions,
    p as it is, 2p by max pooling. Given four maps, from a quarter, half, three quarters and all of the
    depth, each level takes its own, as BEiT does for segmentation (Bao et al., ICLR 2022); given one,
    all levels take it, as ViTDet does. A layer norm comes first, since inner blocks of a transformer
    end without one. ViTDet's closing 1×1 and 3×3 convolutions are left to the decoder.

    Attributes:
        channels: a quarter, half, all and all of those given.
        strides: p/4, p/2, p and 2p, rounded down: of p = 14 the finest is really 3.5.

    Args:
        channels: of the maps given, one or four.
        stride: p, in input pixels.
        pool: False leaves out the pooling, so that the last two maps have stride p.
    """

    def __init__(self, channels: Sequence[int], stride: int, pool: bool = True) -> None:
        super().__init__()
        quarter, half, full, last = channels if len(channels) == 4 else [*channels] * 4
        self.levels = nn.ModuleList(
            [
                nn.Sequential(
                    LayerNorm2d(quarter),
                    double(quarter, quarter // 2),
                    LayerNorm2d(quarter // 2),
                    nn.GELU(),
                    double(quarter // 2, quarter // 4),
                ),
                nn.Sequential(LayerNorm2d(half), double(half, half // 2)),
                LayerNorm2d(full),
                nn.Sequential(LayerNorm2d(last), nn.MaxPool2d(2, ceil_mode=True) if pool else nn.Identity()),
            ]
        )
        self.channels = (quarter // 4, half // 2, full, last)
        self.strides = (max(stride // 4, 1), stride // 2, stride, stride * 2 if pool else stride)

    def keep(self, used: Collection[int]) -> None:
        """Build no maps but those with these indices: the others are then the maps as they were given."""
        for index in set(range(len(self.levels))) - set(used):
            self.levels[index] = nn.Identity()

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """One or four (B, D, h, w) → (B, D/4, 4h, 4w), (B, D/2, 2h, 2w), (B, D, h, w), (B, D, h/2, w/2)."""
        maps = maps if len(maps) == 4 else maps * 4
        return [level(x) for level, x in zip(self.levels, maps, strict=True)]


def double(in_channels: int, out_channels: int) -> nn.ConvTranspose2d:
    """Twice the height and width, without overlap."""
    return nn.ConvTranspose2d(in_channels, out_channels, kernel_size=2, stride=2)
