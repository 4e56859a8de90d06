"""Soft targets: shares of the classes instead of one label, as mixed images have them.

A soft target is floating and has the shape of the logits, (B, K[, H, W]). The shares of a pixel sum to 1; an
ignored pixel is `IGNORE` in all classes. A loss that accepts such a target says so by `soft_targets = True`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pixelwise.types import IGNORE, ignored_label


def takes_soft_targets(loss: nn.Module) -> bool:
    """Whether a loss accepts soft targets; a loss that says nothing does not."""
    return bool(getattr(loss, "soft_targets", False))


def blend(target: Tensor, second: Tensor, share: Tensor, classes: int) -> Tensor:
    """Blend two targets: `share` of the first and the rest of the second.

    A pixel or label that is ignored in either target is ignored in the result.

    Args:
        target: class indices (B,) or (B, H, W) with the ignored label; or several labels per image (B, K).
        second: the same of the images that were mixed in.
        share: (B,) from 0 to 1.
        classes: number K of classes.

    Returns:
        The soft target (B, K[, H, W]) in float32.
    """
    target, second = target.long(), second.long()
    ignored_value = IGNORE if target.ndim == 2 else ignored_label(classes)
    ignored = (target == ignored_value) | (second == ignored_value)
    share = share.float().view(-1, *[1] * (target.ndim - 1))
    if target.ndim == 2:
        return (share * target + (1 - share) * second).masked_fill(ignored, IGNORE)
    soft = torch.zeros(len(target), classes, *target.shape[1:], device=target.device)
    for labels, weight in ((target, share), (second, 1 - share)):
        indices = labels.masked_fill(ignored, 0).unsqueeze(1)
        soft.scatter_add_(1, indices, weight.expand_as(target).unsqueeze(1))
    return soft.masked_fill_(ignored.unsqueeze(1), IGNORE)
