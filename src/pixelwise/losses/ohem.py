"""Cross-entropy of the hardest pixels only."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from pixelwise.checks import checked
from pixelwise.kinds import ClassWeights, Share
from pixelwise.losses.reduction import (
    check_one_label,
    full_precision,
    mean_over,
    pixel_weights,
    weights_for,
    weights_tensor,
)
from pixelwise.types import ignored_label


@checked
class OHEMCrossEntropy(nn.Module):
    """Mean of -log p_t over the hard pixels: online hard example mining (Shrivastava et al. 2016).

    The paper takes the regions with the largest loss. For pixels it is usual to take all with p_t <
    threshold; if these are fewer than `min_share` of all pixels, the hardest pixels up to this share (all of
    those that are equally hard at its limit). threshold = 0 is the paper's rule, min_share = 1 is
    `CrossEntropy`.

    Args:
        threshold: probability of the true class below which a pixel is hard.
        min_share: share of the batch's labelled pixels that always count.
        class_weights: one weight for each class, for a weighted mean; they do not change which pixels are
            hard.
    """

    class_weights: Tensor | None

    def __init__(
        self, threshold: Share = 0.7, min_share: Share = 1 / 16, class_weights: ClassWeights | None = None
    ) -> None:
        super().__init__()
        self.threshold = threshold
        self.min_share = min_share
        self.register_buffer("class_weights", weights_tensor(class_weights), persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Scalar loss of (B, K[, H, W]) logits and a (B[, H, W]) target."""
        check_one_label(logits, target)
        logits = full_precision(logits)
        classes, ignored = logits.shape[1], ignored_label(logits.shape[1])
        nll = F.cross_entropy(logits, target, ignore_index=ignored, reduction="none")
        weights = pixel_weights(target, weights_for(logits, self.class_weights), classes)
        weights = weights * self.hard(nll.detach(), target != ignored)
        return mean_over((weights * nll).sum(), weights.sum())

    def hard(self, nll: Tensor, labelled: Tensor) -> Tensor:
        """Bool mask of the hard pixels, in the shape of the negative log-likelihood and of `labelled`."""
        uncertain = labelled & (nll > (-math.log(self.threshold) if self.threshold else math.inf))
        least = math.ceil(self.min_share * int(labelled.sum()))
        if int(uncertain.sum()) >= least:
            return uncertain
        least_hard = nll[labelled].topk(least, sorted=False).values.min()
        return labelled & (nll >= least_hard)
