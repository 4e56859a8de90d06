"""The base class of all decoders, and the layers that several of them use."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from pixelwise.errors import UserError


class Decoder(nn.Module):
    """Base class of all decoders.

    A decoder is built from the encoder's `channels` and `strides` (finest first) and turns the
    list of feature maps into one map (B, `out_channels`, h, w). It resizes to the actual size of each
    map, so that it works with any number of maps and any H×W.

    Attributes:
        out_channels: channels of the output map.
        used: indices of the maps that `forward` reads; the encoder does not train weights of other maps.

    Args:
        channels: channels of the encoder's feature maps, finest first.
        strides: strides of these maps in input pixels, finest first.
    """

    out_channels: int

    def __init__(self, channels: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        self.channels = tuple(channels)
        self.strides = tuple(strides)
        self.used: tuple[int, ...] = tuple(range(len(self.strides)))

    def first_map(self, stride: int) -> int:
        """Return the index of the finest map with at least this stride; of the last map if none has it."""
        return next((i for i, s in enumerate(self.strides) if s >= stride), len(self.strides) - 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """List of (B, C_i, h_i, w_i), finest first → (B, D, h, w)."""
        raise NotImplementedError


class UShapedDecoder(Decoder):
    """Base class of decoders that double the resolution block by block, from the last map to stride 1.

    A subclass appends to `blocks` one module for each doubling. It is called with the map so far, and with
    the encoder's map of the next finer stride or None, if the encoder has no map of that stride.

    Attributes:
        skips: for each block the index of the encoder's map, or None.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__(channels, strides)
        finer = self.strides[:-1]
        targets = [self.strides[-1] >> k for k in range(1, self.strides[-1].bit_length())]
        self.skips = [finer.index(stride) if stride in finer else None for stride in targets]
        self.used = (*(skip for skip in self.skips if skip is not None), *self.used[-1:])
        self.centre: nn.Module = nn.Identity()
        self.blocks = nn.ModuleList()

    def widths_of_blocks(self, widths: Sequence[int]) -> list[int]:
        """Return one number for each block: `widths` cut at its end, or with its first number repeated."""
        return [*[widths[0]] * (len(self.skips) - len(widths)), *widths][: len(self.skips)]

    def skip_channels(self) -> list[int]:
        """Return the channels of the encoder's map for each block, or 0."""
        return [0 if skip is None else self.channels[skip] for skip in self.skips]

    def forward(self, features: list[Tensor]) -> Tensor:
        """Feature maps, finest first → (B, out_channels, H, W), H×W up to rounding."""
        x = self.centre(features[-1])
        for block, skip in zip(self.blocks, self.skips, strict=True):
            x = block(x, None if skip is None else features[skip])
        return x


def enlarge(x: Tensor, skip: Tensor | None) -> Tensor:
    """Resize a map to the size of `skip`, or to twice its size, by repeating pixels."""
    if skip is None:
        return F.interpolate(x, scale_factor=2.0, mode="nearest")
    return F.interpolate(x, size=skip.shape[-2:], mode="nearest")


def conv_bn(in_channels: int, out_channels: int, kernel_size: int = 1) -> nn.Sequential:
    """Return convolution (same size) → batch-norm."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))


def conv_bn_relu(in_channels: int, out_channels: int, kernel_size: int = 3) -> nn.Sequential:
    """Return convolution (same size) → batch-norm → ReLU."""
    return nn.Sequential(*conv_bn(in_channels, out_channels, kernel_size), nn.ReLU(inplace=True))


class PooledContext(nn.Module):
    """Mean over size × size bins → 1×1 convolution → bilinear resize to the map's own size.

    One level of a pyramid pooling module (Zhao et al., CVPR 2017); with `size` 1 it gives the image-level
    features of DeepLab.

    Args:
        in_channels: channels of the input map.
        out_channels: channels of the output map.
        size: number of bins along each side.
        norm: add batch-norm after the convolution. With `size` 1 it gets one value per image and channel,
            so that training needs at least two images in a batch.
        align_corners: passed to `F.interpolate`.
    """

    def __init__(
        self, in_channels: int, out_channels: int, size: int, norm: bool = True, align_corners: bool = False
    ) -> None:
        super().__init__()
        self.size = size
        self.align_corners = align_corners
        if norm:
            self.conv = conv_bn_relu(in_channels, out_channels, kernel_size=1)
        else:
            self.conv = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) → (B, D, h, w).

        Raises:
            UserError: batch-norm after global pooling cannot train on a single image.
        """
        norm = self.conv[1]
        if isinstance(norm, nn.BatchNorm2d) and norm.training and self.size == 1 and x.shape[0] == 1:
            raise UserError(
                "data.batch_size: this decoder cannot train on one image at a time",
                found=1,
                expected="2 or more: its batch-norm after global pooling gets one value per image",
                fix="data.batch_size=2 or more, or a decoder such as unet, fpn or segformer",
            )
        pooled = self.conv(F.adaptive_avg_pool2d(x, self.size))
        return F.interpolate(pooled, size=x.shape[-2:], mode="bilinear", align_corners=self.align_corners)
