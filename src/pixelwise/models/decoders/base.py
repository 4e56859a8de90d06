"""What every decoder promises, and the block that most of them are made of."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class Decoder(nn.Module):
    """Base of all decoders.

    A decoder is built from the encoder's `channels` and `strides` (finest first) and turns the
    list of feature maps into one map (B, `out_channels`, h, w). It resizes to each map's own size,
    so that any pyramid depth and any H×W work.
    """

    out_channels: int

    def __init__(self, channels: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        self.channels = tuple(channels)
        self.strides = tuple(strides)

    def forward(self, features: list[Tensor]) -> Tensor:
        """(B, C_i, h_i, w_i) for each stride, finest first → (B, D, h, w)."""
        raise NotImplementedError


def conv_bn_relu(in_channels: int, out_channels: int, kernel_size: int = 3) -> nn.Sequential:
    """Convolution that keeps the size → batch-norm → ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )
