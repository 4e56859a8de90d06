"""A feature pyramid for encoders with a single scale."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from timm.layers import LayerNorm2d
from torch import Tensor, nn

from pixelwise.errors import UserError


class SimplePyramid(nn.Module):
    """Make feature maps of four scales from those of a plain vision transformer, which have one stride p.

    This is the simple feature pyramid of Li et al., Exploring Plain Vision Transformer Backbones for Object
    Detection (ViTDet, ECCV 2022; arXiv:2203.16527). Transposed convolutions give strides p/4 and p/2, max
    pooling gives 2p. The input is either one map for all levels, as in ViTDet, or one map per level, from
    1/4, 1/2, 3/4 and the full depth, as in BEiT for segmentation (Bao et al., ICLR 2022). Each level starts
    with a layer norm, because some transformers, such as BEiT, have no norm before the pool. ViTDet's final
    1×1 and 3×3 convolutions are left to the decoder.

    Attributes:
        channels: channels of the four levels: 1/4, 1/2, 1 and 1 times those of the input maps.
        strides: p/4, p/2, p and 2p, rounded down: for p = 14 the finest stride is in fact 3.5.

    Args:
        channels: channels of the input maps, one or four numbers.
        stride: p, in input pixels.
        pool: False leaves out the pooling, so that the last two maps have stride p.

    Raises:
        UserError: there are neither one nor four input maps.
    """

    def __init__(self, channels: Sequence[int], stride: int, pool: bool = True) -> None:
        super().__init__()
        if len(channels) not in (1, 4):
            raise UserError(
                "encoder.blocks: the simple feature pyramid takes one or four blocks",
                found=len(channels),
                fix="encoder.blocks=1 or 4, or encoder.neck=false to keep the blocks as they are",
            )
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
        """Compute only the levels with these indices; the other levels return their input map."""
        for index in set(range(len(self.levels))) - set(used):
            self.levels[index] = nn.Identity()

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """One or four (B, D, h, w) → (B, D/4, 4h, 4w), (B, D/2, 2h, 2w), (B, D, h, w), (B, D, h/2, w/2)."""
        maps = maps if len(maps) == 4 else maps * 4
        return [level(x) for level, x in zip(self.levels, maps, strict=True)]


def double(in_channels: int, out_channels: int) -> nn.ConvTranspose2d:
    """Return a layer that doubles height and width, without overlap."""
    return nn.ConvTranspose2d(in_channels, out_channels, kernel_size=2, stride=2)
