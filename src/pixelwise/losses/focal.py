"""Focal loss: cross-entropy that attends to the pixels which are still wrong."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelwise.errors import UserError
from pixelwise.losses.reduction import (
    check_one_label,
    full_precision,
    pixel_weights,
    weights_for,
)
from pixelwise.losses.sums import MeanLoss
from pixelwise.types import IGNORE


class Focal(MeanLoss):
    """Mean of -(1 - p_t)^gamma log p_t over the labelled pixels (Lin et al. 2017, "Focal Loss", eq. 4 and 5).

    p_t is the softmax probability of the true class; the paper's is a sigmoid, which is the same for two
    classes. The mean is over the class weights (the paper's alpha), so gamma = 0 is `CrossEntropy`.

    Args:
        gamma: how much less a pixel counts that is already right; 0 is cross-entropy.
        class_weights: one weight for each class; None weighs all pixels alike.
    """

    def __init__(self, gamma: float = 2.0, class_weights: Sequence[float] | None = None) -> None:
        super().__init__(class_weights)
        if not gamma >= 0:
            raise UserError("loss.gamma: would reward being wrong", found=gamma, expected="a number >= 0")
        self.gamma = gamma

    def sums(self, logits: Tensor, target: Tensor) -> Tensor:
        """Total and weight (2,) of (B, K[, H, W]) logits and a (B[, H, W]) target."""
        check_one_label(logits, target)
        logits = full_precision(logits)
        weights = pixel_weights(target, weights_for(logits, self.class_weights))
        surprise = F.cross_entropy(logits, target, ignore_index=IGNORE, reduction="none")
        # 1 - p_t without cancellation. The floor keeps the power's slope finite at p_t = 1 for gamma < 1.
        doubt = -torch.expm1(-surprise)
        focal = doubt.clamp_min(torch.finfo(doubt.dtype).tiny) ** self.gamma * surprise
        return torch.stack([(weights * focal).sum(), weights.sum().to(focal.dtype)])
