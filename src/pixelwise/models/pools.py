"""Pools for classifiers: one vector per image, or several, from the features of all positions."""

from __future__ import annotations

import torch
from timm.layers import AttentionPoolLatent
from torch import Tensor, nn

from pixelwise.checks import checked
from pixelwise.errors import UserError
from pixelwise.kinds import Count, Positive


class Pool(nn.Module):
    """Base class of all pools.

    Attributes:
        vectors: number of vectors per image.
        reads_class_token: whether the encoder must have a class token.

    Args:
        channels: D.
    """

    vectors = 1
    reads_class_token = False

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, tokens: Tensor, positions: Tensor) -> list[Tensor]:
        """Class token and registers, if any (B, P, D), positions (B, N, D) → `vectors` times (B, D)."""
        raise NotImplementedError


class Average(Pool):
    """Mean over all positions, without the class token."""

    def forward(self, tokens: Tensor, positions: Tensor) -> list[Tensor]:
        """Return the mean."""
        return [positions.mean(1)]


class ClassToken(Pool):
    """The class token of a transformer."""

    reads_class_token = True

    def forward(self, tokens: Tensor, positions: Tensor) -> list[Tensor]:
        """Return the first token."""
        return [tokens[:, 0]]


class ClassTokenAndAverage(Pool):
    """The class token and the mean over all positions, side by side, as in the linear probes of DINOv2.

    Source: Oquab et al., DINOv2, TMLR 2024 (arXiv:2304.07193).
    """

    vectors = 2
    reads_class_token = True

    def forward(self, tokens: Tensor, positions: Tensor) -> list[Tensor]:
        """Return the first token and the mean."""
        return [tokens[:, 0], positions.mean(1)]


@checked
class GeM(Pool):
    """Generalised mean (mean xᵖ)^(1/p) over all positions, with one learned p; 1 is the mean, ∞ the maximum.

    Values below `eps` count as `eps`. Source: Radenović et al., Fine-tuning CNN Image Retrieval with No Human
    Annotation, TPAMI 2019 (arXiv:1711.02512).

    Args:
        channels: D.
        p: initial exponent, above 0.
        eps: smallest value.
    """

    def __init__(self, channels: int, p: Positive = 3.0, eps: Positive = 1e-6) -> None:
        super().__init__(channels)
        self.p = nn.Parameter(torch.tensor(float(p)))
        self.eps = eps

    def forward(self, tokens: Tensor, positions: Tensor) -> list[Tensor]:
        """Return the generalised mean."""
        return [positions.clamp(min=self.eps).pow(self.p).mean(1).pow(1 / self.p)]


@checked
class Attention(Pool):
    """Mean over class token and positions, weighted by the attention of one learned query in several heads.

    Source: Lee et al., Set Transformer, ICML 2019 (arXiv:1810.00825), without the layers after the attention.

    Args:
        channels: D, a multiple of `heads`.
        heads: number of attention heads.
    """

    def __init__(self, channels: int, heads: Count = 8) -> None:
        super().__init__(channels)
        if channels % heads:
            raise UserError("task.head.pool.heads", found=heads, expected=f"a divisor of {channels}")
        self.attention = AttentionPoolLatent(channels, out_features=0, num_heads=heads)

    def forward(self, tokens: Tensor, positions: Tensor) -> list[Tensor]:
        """Return the weighted mean of values."""
        return [self.attention(torch.cat([tokens, positions], dim=1))]
