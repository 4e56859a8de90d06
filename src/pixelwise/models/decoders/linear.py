"""Linear: no decoder layers; the head works on the encoder's own map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pixelwise.errors import UserError
from pixelwise.models.decoders.base import Decoder


class Linear(Decoder):
    """Return the encoder's last map, or several maps of its stride side by side.

    With `PixelHead` this is a linear probe of the encoder. For plain transformers it is that of DINOv2
    (Oquab et al., TMLR 2024; arXiv:2304.07193) and DINOv3 (Siméoni et al., 2025; arXiv:2508.10104): the last
    block, or the last four, under the final norm at the stride of the patches, with batch-norm. For other
    encoders it is the FCN-32s of Long et al. (CVPR 2015). For a classifier it passes the final features on.

    Args:
        channels: channels of the encoder's feature maps, finest first.
        strides: strides of these maps in input pixels, finest first.
        encoder_blocks: number of last maps to join, or the blocks of a plain transformer that they come from;
            the encoder's YAML reads it, too.
        encoder_neck: whether a plain transformer's maps become a pyramid, read by the encoder's YAML; not
            used by the decoder.
        batchnorm: add batch-norm.

    Raises:
        UserError: the maps to join have different strides.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        encoder_blocks: int | Sequence[int] = 1,
        encoder_neck: bool = False,
        batchnorm: bool = False,
    ) -> None:
        super().__init__(channels, strides)
        count = encoder_blocks if isinstance(encoder_blocks, int) else len(encoder_blocks)
        self.used = self.used[-count:]
        if len({self.strides[i] for i in self.used}) != 1 or len(self.used) != count:
            raise UserError(
                "decoder.encoder_blocks: only maps of one stride can be joined",
                found=f"{encoder_blocks}, with maps at strides {self.strides}",
                fix="decoder.encoder_blocks=1, or a plain transformer as encoder",
            )
        self.out_channels = sum(self.channels[i] for i in self.used)
        self.norm = nn.BatchNorm2d(self.out_channels) if batchnorm else nn.Identity()

    def forward(self, features: list[Tensor]) -> Tensor:
        """Feature maps, finest first → (B, D, h, w) at the stride of the last one."""
        maps = [features[i] for i in self.used]
        return self.norm(torch.cat(maps, dim=1) if len(maps) > 1 else maps[0])
