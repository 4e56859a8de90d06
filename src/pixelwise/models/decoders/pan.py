"""PAN decoder: attention from a small pyramid on the last map, and gates from coarse to fine."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from pixelwise.kinds import Count, Stride
from pixelwise.models.decoders.base import Decoder, PooledContext, conv_bn, conv_bn_relu


class PAN(Decoder):
    """PAN decoder (Li et al., Pyramid Attention Network, BMVC 2018, arXiv:1805.10180) for any encoder.

    The encoder's last map, dilated to stride 16, is weighted by feature pyramid attention. Global attention
    upsampling then adds the finer maps down to stride 4.

    The pooling branches have batch-norms: training needs at least two images in a batch.

    Args:
        channels: channels of the encoder's feature maps, finest first.
        strides: strides of these maps in input pixels, finest first.
        width: channels of all levels and of the output.
        encoder_output_stride: output stride for the encoder, read by its YAML; not used by the decoder.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        width: Count = 32,
        encoder_output_stride: Stride = 16,
    ) -> None:
        super().__init__(channels, strides)
        self.finest = self.first_map(4)
        self.used = self.used[self.finest :]
        *finer, last = self.channels[self.finest :]
        self.attention = PyramidAttention(last, width)
        self.fusions = nn.ModuleList(AttentionUpsampling(c, width) for c in reversed(finer))
        self.out_channels = width

    def forward(self, features: list[Tensor]) -> Tensor:
        """Feature maps, finest first → (B, width, h, w) at stride 4."""
        *finer, last = features[self.finest :]
        x = self.attention(last)
        for fusion, skip in zip(self.fusions, reversed(finer), strict=True):
            x = fusion(x, skip)
        return x


class PyramidAttention(nn.Module):
    """Feature pyramid attention: weights from convolutions at three coarser scales, plus the global mean.

    A side that is odd is rounded up when it is halved; segmentation_models_pytorch rounds it down, which
    needs larger maps.
    """

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.context = PooledContext(in_channels, width, size=1, align_corners=True)
        self.project = conv_bn_relu(in_channels, width, kernel_size=1)
        self.down1 = conv_bn_relu(in_channels, 1, kernel_size=7)
        self.down2 = conv_bn_relu(1, 1, kernel_size=5)
        self.down3 = nn.Sequential(conv_bn_relu(1, 1), conv_bn_relu(1, 1))
        self.conv2 = conv_bn_relu(1, 1, kernel_size=5)
        self.conv1 = conv_bn_relu(1, 1, kernel_size=7)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) → (B, width, h, w)."""
        context = self.context(x)
        half = self.down1(_halve(x))
        quarter = self.down2(_halve(half))
        weights = self.conv2(quarter) + _resize(self.down3(_halve(quarter)), quarter)
        weights = self.conv1(half) + _resize(weights, half)
        return self.project(x) * _resize(weights, x) + context


class AttentionUpsampling(nn.Module):
    """Global attention upsampling: the mean of the coarse map weights the channels of the encoder's map."""

    def __init__(self, skip_channels: int, width: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv_bn(width, width), nn.Sigmoid())
        self.conv = conv_bn_relu(skip_channels, width)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(B, width, h, w) and the encoder's map (B, skip_channels, H, W) → (B, width, H, W)."""
        return _resize(x, skip) + self.conv(skip) * self.gate(x)


def _halve(x: Tensor) -> Tensor:
    """Max pooling with rounding up; an exported graph with `ceil_mode` would refuse small images."""
    height, width = x.shape[-2:]
    return F.max_pool2d(F.pad(x, (0, width % 2, 0, height % 2), mode="replicate"), 2)


def _resize(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=True)
