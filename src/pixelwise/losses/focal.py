"""Focal loss: cross-entropy with more weight on pixels that are still wrong."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelwise.checks import checked
from pixelwise.kinds import ClassWeights, NonNegative
from pixelwise.losses.reduction import (
    along_classes,
    check_one_label,
    full_precision,
    is_soft,
    pixel_weights,
    soft_shares,
    weights_for,
)
from pixelwise.losses.sums import MeanLoss
from pixelwise.types import ignored_label


@checked
class Focal(MeanLoss):
    """Mean of -(1 - p_t)^gamma log p_t over the labelled pixels (Lin et al. 2017, "Focal Loss", eq. 4 and 5).

    p_t is the softmax probability of the true class; the paper uses a sigmoid, which is the same for two
    classes. Class weights (the paper's alpha) also weight the mean, so gamma = 0 equals `CrossEntropy`.
    A soft target gives the mean over its classes, weighted by their shares.

    Args:
        gamma: the larger, the smaller the weight of pixels that are already right; 0 is cross-entropy.
        class_weights: one weight for each class; None gives all pixels the same weight.
    """

    soft_targets = True

    def __init__(self, gamma: NonNegative = 2.0, class_weights: ClassWeights | None = None) -> None:
        super().__init__(class_weights)
        self.gamma = gamma

    def sums(self, logits: Tensor, target: Tensor) -> Tensor:
        """Total and weight (2,) of (B, K[, H, W]) logits and a (B[, H, W]) or soft target."""
        logits = full_precision(logits)
        by_class = weights_for(logits, self.class_weights)
        if is_soft(target):
            weights, _ = soft_shares(logits, target)
            weights = weights if by_class is None else weights * along_classes(by_class, logits)
            nll = -logits.log_softmax(1)
        else:
            check_one_label(logits, target)
            weights = pixel_weights(target, by_class, logits.shape[1])
            ignored = ignored_label(logits.shape[1])
            nll = F.cross_entropy(logits, target, ignore_index=ignored, reduction="none")
        # 1 - p_t without cancellation. The lower limit keeps the gradient of the power finite at p_t = 1 for
        # gamma < 1.
        one_minus_pt = -torch.expm1(-nll)
        focal = one_minus_pt.clamp_min(torch.finfo(one_minus_pt.dtype).tiny) ** self.gamma * nll
        return torch.stack([(weights * focal).sum(), weights.sum().to(focal.dtype)])
