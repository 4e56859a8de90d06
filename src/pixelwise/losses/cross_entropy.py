"""Cross-entropy: the mean negative log-likelihood of the true label."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelwise.checks import checked
from pixelwise.kinds import ClassWeights, Share
from pixelwise.losses.reduction import (
    check_one_label,
    full_precision,
    is_soft,
    pixel_weights,
    soft_shares,
    weights_for,
)
from pixelwise.losses.region_statistics import RegionStatistics
from pixelwise.losses.sums import MeanLoss
from pixelwise.types import ignored_label


@checked
class CrossEntropy(MeanLoss):
    """Mean of -log p_t over the labelled pixels, p_t being the probability of the true class.

    Equal to `F.cross_entropy(ignore_index=255)` with the same options, except that a batch without any
    labelled pixel gives 0 where PyTorch gives NaN. For a soft target q the loss of a pixel is the sum of
    -q_k log p_k, and its weight the sum of q_k times the class weights, so that a target of ones and zeros
    gives the loss of its index.

    Args:
        label_smoothing: share of the label that is spread evenly over all K classes (Szegedy et al. 2016,
            "Rethinking the Inception Architecture"); 0 is none.
        class_weights: one weight for each class, for a weighted mean; None gives all pixels the same weight.
    """

    soft_targets = True

    def __init__(self, label_smoothing: Share = 0.0, class_weights: ClassWeights | None = None) -> None:
        super().__init__(class_weights)
        self.label_smoothing = label_smoothing

    def sums(self, logits: Tensor, target: Tensor) -> Tensor:
        """Total and weight (2,) of (B, K[, H, W]) logits and a (B[, H, W]) or soft target."""
        logits = full_precision(logits)
        weights = weights_for(logits, self.class_weights)
        if is_soft(target):
            return self._soft_sums(logits, target, weights)
        check_one_label(logits, target)
        total = F.cross_entropy(
            logits,
            target,
            weights,
            ignore_index=ignored_label(logits.shape[1]),
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )
        weight = pixel_weights(target, weights, logits.shape[1]).sum()
        return torch.stack([total, weight.to(total.dtype)])

    def _soft_sums(self, logits: Tensor, target: Tensor, weights: Tensor | None) -> Tensor:
        """Total and weight (2,) for a soft target of the shape of the logits."""
        shares, labelled = soft_shares(logits, target)
        losses = F.cross_entropy(
            logits, shares, weights, reduction="none", label_smoothing=self.label_smoothing
        )
        by_class = shares.transpose(0, 1).flatten(1).sum(1)
        weight = by_class.sum() if weights is None else (weights * by_class).sum()
        return torch.stack([losses[labelled].sum(), weight])

    def sums_of_statistics(self, statistics: RegionStatistics) -> Tensor:
        """The same sums from region statistics, for `FusedSum`; only without label smoothing."""
        assert not self.label_smoothing
        weights = weights_for(statistics.count, self.class_weights)
        nll, count = statistics.nll, statistics.count
        if weights is not None:
            nll, count = weights * nll, weights * count
        return torch.stack([nll.sum(), count.sum()])
