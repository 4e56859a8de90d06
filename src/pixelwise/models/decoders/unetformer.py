"""UNetFormer decoder: a light U-Net with blocks of window attention and convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelwise.kinds import Count, Fraction
from pixelwise.models.decoders.base import Decoder


class UNetFormer(Decoder):
    """The decoder of UNetFormer (Wang et al., ISPRS Journal 2022, arXiv:2109.08937) for any encoder.

    There is a global-local transformer block at each stride from the coarsest to 8, a weighted sum with the
    encoder's map after each block, and the feature refinement head at stride 4. The paper's auxiliary head,
    a training loss on the middle blocks, is left out. Maps that do not fill all windows are padded by
    repeating their border; the authors' code reflects it, which needs larger maps.

    Args:
        channels: channels of the encoder's feature maps, finest first.
        strides: strides of these maps in input pixels, finest first.
        width: channels of all blocks and of the output.
        heads: number of attention heads; must divide `width`.
        window: side of the attention windows, in pixels of the map.
        dropout: probability that an output channel is dropped in training.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        width: Count = 64,
        heads: Count = 8,
        window: Count = 8,
        dropout: Fraction = 0.1,
    ) -> None:
        super().__init__(channels, strides)
        self.finest = self.first_map(4)
        self.used = self.used[self.finest :]
        *finer, last = self.channels[self.finest :]
        self.reduce = _conv_bn(last, width)
        self.blocks = nn.ModuleList(GlobalLocalBlock(width, heads, window) for _ in finer or [last])
        self.fusions = nn.ModuleList(WeightedFusion(c, width) for c in reversed(finer))
        self.refine = FeatureRefinement(width)
        self.out = nn.Sequential(_conv_bn(width, width, 3), nn.ReLU6(inplace=True), nn.Dropout2d(dropout))
        self.out_channels = width

    def forward(self, features: list[Tensor]) -> Tensor:
        """Feature maps, finest first → (B, width, h, w) at stride 4."""
        *finer, last = features[self.finest :]
        x = self.blocks[0](self.reduce(last))
        for i, (fusion, skip) in enumerate(zip(self.fusions, reversed(finer), strict=True), start=1):
            x = fusion(x, skip)
            if i < len(self.blocks):
                x = self.blocks[i](x)
        return self.out(self.refine(x))


class GlobalLocalBlock(nn.Module):
    """Transformer block: attention, then a two-layer perceptron at each pixel."""

    def __init__(self, width: int, heads: int, window: int, expansion: int = 4) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.BatchNorm2d(width), GlobalLocalAttention(width, heads, window))
        self.mlp = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.Conv2d(width, expansion * width, kernel_size=1),
            nn.ReLU6(inplace=True),
            nn.Conv2d(expansion * width, width, kernel_size=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, h, w) → the same shape."""
        x = x + self.attention(x)
        return x + self.mlp(x)


class GlobalLocalAttention(nn.Module):
    """Attention within windows, averaged along columns and rows to connect windows, plus convolutions."""

    position: Tensor

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.local3 = _conv_bn(width, width, 3)
        self.local1 = _conv_bn(width, width, 1)
        self.qkv = nn.Conv2d(width, 3 * width, kernel_size=1, bias=False)
        self.bias = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))  # for each relative position
        nn.init.trunc_normal_(self.bias, std=0.02)
        places = torch.cartesian_prod(torch.arange(window), torch.arange(window))
        dy, dx = (places[:, None] - places[None] + window - 1).unbind(-1)
        self.register_buffer("position", dy * (2 * window - 1) + dx, persistent=False)
        self.project = _separable_conv_bn(width, window)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, h, w) → the same shape."""
        # an even window has one more pixel after its centre than before it
        window, extra, before = self.window, 1 - self.window % 2, (self.window - 1) // 2
        attended = self._within_windows(x)
        column = F.avg_pool2d(_extend(attended, extra, 0), (window, 1), stride=1, padding=(before, 0))
        row = F.avg_pool2d(_extend(attended, 0, extra), (1, window), stride=1, padding=(0, before))
        return self.project(_extend(column + row + self.local3(x) + self.local1(x), extra, extra))

    def _within_windows(self, x: Tensor) -> Tensor:
        """Apply attention with relative position bias in windows that do not overlap."""
        batch, width, h, w = x.shape
        window, heads = self.window, self.heads
        rows, columns = -(-h // window), -(-w // window)
        x = F.pad(x, (0, columns * window - w, 0, rows * window - h), mode="replicate")
        qkv = self.qkv(x).reshape(batch, 3, heads, width // heads, rows, window, columns, window)
        q, k, v = qkv.permute(1, 0, 4, 6, 2, 5, 7, 3).flatten(5, 6).flatten(1, 3).unbind()
        bias = self.bias[self.position].permute(2, 0, 1)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        x = x.reshape(batch, rows, columns, heads, window, window, width // heads)
        x = x.permute(0, 3, 6, 1, 4, 2, 5).reshape(batch, width, rows * window, columns * window)
        return x[..., :h, :w]


class WeightedFusion(nn.Module):
    """Weighted sum of the encoder's map and the enlarged decoder map, followed by a convolution."""

    def __init__(self, skip_channels: int, width: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(skip_channels, width, kernel_size=1, bias=False)
        self.weights = nn.Parameter(torch.ones(2))
        self.conv = nn.Sequential(_conv_bn(width, width, 3), nn.ReLU6(inplace=True))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(B, width, h, w) and (B, skip_channels, H, W) → (B, width, H, W)."""
        x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
        weights = self.weights.relu()
        weights = weights / (weights.sum() + 1e-8)
        return self.conv(weights[0] * self.reduce(skip) + weights[1] * x)


class FeatureRefinement(nn.Module):
    """Apply spatial attention and channel attention in parallel, with a residual connection."""

    def __init__(self, width: int, reduction: int = 16) -> None:
        super().__init__()
        self.pixels = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, groups=width), nn.Sigmoid())
        self.channels = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(width, width // reduction, kernel_size=1, bias=False),
            nn.ReLU6(inplace=True),
            nn.Conv2d(width // reduction, width, kernel_size=1, bias=False),
            nn.Sigmoid(),
        )
        self.shortcut = _conv_bn(width, width)
        self.project = _separable_conv_bn(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, h, w) → the same shape."""
        return F.relu6(self.project(self.pixels(x) * x + self.channels(x) * x) + self.shortcut(x))


def _extend(x: Tensor, down: int, right: int) -> Tensor:
    """Pad below and on the right by reflection; a map of one pixel is repeated instead."""
    mode = "reflect" if min(x.shape[-2:]) > 1 else "replicate"
    return F.pad(x, (0, right, 0, down), mode=mode)


def _conv_bn(in_channels: int, out_channels: int, kernel_size: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))


def _separable_conv_bn(width: int, kernel_size: int) -> nn.Sequential:
    """Return depthwise convolution → batch-norm → 1×1 convolution."""
    padding = (kernel_size - 1) // 2
    return nn.Sequential(
        nn.Conv2d(width, width, kernel_size, padding=padding, groups=width, bias=False),
        nn.BatchNorm2d(width),
        nn.Conv2d(width, width, kernel_size=1, bias=False),
    )
