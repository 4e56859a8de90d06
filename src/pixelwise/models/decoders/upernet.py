"""UPerNet decoder: a feature pyramid network on top of pyramid pooling."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from pixelwise.kinds import Count
from pixelwise.models.decoders.base import Decoder, PooledContext, conv_bn_relu


class UPerNet(Decoder):
    """UPerNet decoder (Xiao et al., Unified Perceptual Parsing, ECCV 2018, arXiv:1807.10221) for any encoder.

    It applies pyramid pooling to the last map, adds the finer maps down to stride 4, and joins all levels
    by a convolution. As in segmentation_models_pytorch, each map is first layer-normalised, because
    transformers return maps that are not normalised.

    The global mean has a batch-norm: training needs at least two images in a batch.

    Args:
        channels: channels of the encoder's feature maps, finest first.
        strides: strides of these maps in input pixels, finest first.
        width: channels of all levels and of the output.
        sizes: number of bins along each side, for each level of the pyramid pooling.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        width: Count = 256,
        sizes: Sequence[Count] = (1, 2, 3, 6),
    ) -> None:
        super().__init__(channels, strides)
        self.finest = self.first_map(4)
        self.used = self.used[self.finest :]
        *finer, last = self.channels[self.finest :]
        self.norms = nn.ModuleList(LayerNorm2d(c) for c in (*finer, last))
        self.pools = nn.ModuleList(PooledContext(last, width, size) for size in sizes)
        self.pooled = conv_bn_relu(last + len(sizes) * width, width)
        self.laterals = nn.ModuleList(conv_bn_relu(c, width, kernel_size=1) for c in reversed(finer))
        self.convs = nn.ModuleList(conv_bn_relu(width, width) for _ in finer)
        self.fuse = conv_bn_relu((len(finer) + 1) * width, width)
        self.out_channels = width

    def forward(self, features: list[Tensor]) -> Tensor:
        """Feature maps, finest first → (B, width, h, w) at stride 4."""
        *finer, last = (norm(x) for norm, x in zip(self.norms, features[self.finest :], strict=True))
        x = self.pooled(torch.cat([last, *(pool(last) for pool in self.pools)], dim=1))
        levels = [x]
        for lateral, conv, skip in zip(self.laterals, self.convs, reversed(finer), strict=True):
            x = _resize(x, skip) + lateral(skip)
            levels.append(conv(x))
        return self.fuse(torch.cat([_resize(level, x) for level in reversed(levels)], dim=1))


def _resize(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)
