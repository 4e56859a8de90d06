"""DPT decoder: blocks of a transformer, brought to four strides and fused by residual convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from pixelwise.kinds import Count
from pixelwise.models.decoders.base import Decoder, conv_bn


class DPT(Decoder):
    """DPT decoder for any encoder.

    Source: Ranftl et al., Vision Transformers for Dense Prediction, ICCV 2021 (arXiv:2103.13413).

    Maps are brought to the strides 4, 8, 16 and 32. The four blocks of a plain transformer, which have the
    stride of the patches, are enlarged by transposed convolutions or reduced by strided ones; the maps of a
    pyramid have these strides already. Residual convolutions add each level to the next finer one. The
    3×3 convolution of the paper's head is left out: a 1×1 head follows, as for every decoder.

    Args:
        channels: channels of the encoder's feature maps, finest first.
        strides: strides of these maps in input pixels, finest first.
        width: channels of the fused levels and of the output.
        widths: channels of each level before, finest first; further levels have the last number.
        encoder_readout: how a transformer's class token is added to its maps; the encoder's YAML reads it,
            too. "ignore": not at all; "add": by addition; "project": the encoder appends the token to the
            channels, and a linear layer with GELU here brings them back to their number.
        encoder_neck: whether a plain transformer's maps become a pyramid first, read by the encoder's YAML;
            not used by the decoder.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        width: Count = 256,
        widths: Sequence[Count] = (256, 512, 1024, 1024),
        encoder_readout: Literal["ignore", "add", "project"] = "ignore",
        encoder_neck: bool = False,
    ) -> None:
        super().__init__(channels, strides)
        self.finest = self.first_map(4)
        self.used = self.used[self.finest :]
        self.readouts, self.levels = nn.ModuleList(), nn.ModuleList()
        for level, index in enumerate(self.used):
            inputs, middle = self.channels[index], widths[min(level, len(widths) - 1)]
            if encoder_readout == "project":
                inputs //= 2
                self.readouts.append(nn.Sequential(nn.Conv2d(2 * inputs, inputs, kernel_size=1), nn.GELU()))
            self.levels.append(
                nn.Sequential(
                    nn.Conv2d(inputs, middle, kernel_size=1),
                    _resample(middle, self.strides[index] / 2 ** (level + 2)),
                    nn.Conv2d(middle, width, kernel_size=3, padding=1, bias=False),
                )
            )
        self.fusions = nn.ModuleList(Fusion(width) for _ in self.used)
        self.out_channels = width

    def forward(self, features: list[Tensor]) -> Tensor:
        """Feature maps, finest first → (B, width, h, w) at stride 2."""
        maps = features[self.finest :]
        if self.readouts:
            maps = [readout(x) for readout, x in zip(self.readouts, maps, strict=True)]
        levels = [level(x) for level, x in zip(self.levels, maps, strict=True)][::-1]
        x = None
        for index, (fusion, level) in enumerate(zip(self.fusions, levels, strict=True), start=1):
            x = fusion(level, x, levels[index] if index < len(levels) else None)
        assert x is not None
        return x


class Fusion(nn.Module):
    """Residual convolutions → add the coarser level → residual convolutions → enlarge → 1×1 convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.own, self.both = (_residual_layers(width) for _ in range(2))
        self.project = nn.Conv2d(width, width, kernel_size=1)

    def forward(self, level: Tensor, coarser: Tensor | None, finer: Tensor | None) -> Tensor:
        """Two maps (B, width, h, w) → a map of the size of `finer`, or of twice the size without it."""
        x = level + self.own(level)
        x = x if coarser is None else x + coarser
        x = x + self.both(x)
        size = [2 * side for side in x.shape[-2:]] if finer is None else finer.shape[-2:]
        return self.project(F.interpolate(x, size=size, mode="bilinear", align_corners=True))


def _resample(channels: int, factor: float) -> nn.Module:
    """Return a layer that multiplies the size by a factor, rounded to n or 1/n."""
    if factor >= 1.5:
        return nn.ConvTranspose2d(channels, channels, kernel_size=round(factor), stride=round(factor))
    if factor > 0.75:
        return nn.Identity()
    return nn.Conv2d(channels, channels, kernel_size=3, stride=round(1 / factor), padding=1)


def _residual_layers(width: int) -> nn.Sequential:
    layers = (conv_bn(width, width, 3), conv_bn(width, width, 3))
    return nn.Sequential(nn.ReLU(), *layers[0], nn.ReLU(inplace=True), *layers[1])
