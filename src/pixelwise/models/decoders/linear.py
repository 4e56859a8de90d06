"""Linear: no decoder layers; the head works on the encoder's last map."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pixelwise.models.decoders.base import Decoder


class Linear(Decoder):
    """Return the coarsest feature map unchanged, without parameters.

    With `ClassifierHead` this is the usual image classifier; with `PixelHead` it is a linear
    probe of the encoder, such as the FCN-32s of Long et al. (CVPR 2015).
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__(channels, strides)
        self.used = self.used[-1:]
        self.out_channels = self.channels[-1]

    def forward(self, features: list[Tensor]) -> Tensor:
        """Feature maps, finest first → the last one (B, D, h, w)."""
        return features[-1]
