"""Overlap with separate weights for false positives and false negatives."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pixelwise.checks import checked
from pixelwise.kinds import NonNegative, Positive
from pixelwise.losses.region import OverlapLoss


@checked
class Tversky(OverlapLoss):
    """One minus I / (I + alpha FP + beta FN) (Salehi et al. 2017, "Tversky loss function").

    FP = P - I is the probability on pixels of other classes, FN = T - I the probability that is missing on
    the class's own pixels. beta > alpha raises recall at the cost of precision. alpha = beta = 1/2 is `Dice`,
    1 is `Jaccard`. Equal to SMP's `TverskyLoss(mode="multiclass", ignore_index=255)`.

    Args:
        alpha: weight of false positives.
        beta: weight of false negatives; the paper's best pair is 0.3 and 0.7.
        **options: those of `OverlapLoss`.
    """

    def __init__(self, alpha: NonNegative = 0.3, beta: NonNegative = 0.7, **options: Any) -> None:
        super().__init__(**options)
        self.alpha = alpha
        self.beta = beta

    def overlap(self, intersection: Tensor, prob_sum: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        """Intersection, and the intersection plus the weighted errors."""
        false_positives, false_negatives = prob_sum - intersection, count - intersection
        return intersection, intersection + self.alpha * false_positives + self.beta * false_negatives


@checked
class FocalTversky(Tversky):
    """The Tversky loss of each class to the power 1 / gamma (Abraham & Khan 2019, "Focal Tversky Loss").

    gamma > 1 increases the gradient of classes that already overlap well, gamma < 1 that of classes that do
    not. The paper sums over classes and calls the weight of false negatives alpha; here it is a mean, and
    beta.

    Args:
        alpha: weight of false positives.
        beta: weight of false negatives.
        gamma: the paper's best is 4/3; 1 is `Tversky`.
        **options: those of `OverlapLoss`.
    """

    def __init__(
        self, alpha: NonNegative = 0.3, beta: NonNegative = 0.7, gamma: Positive = 4 / 3, **options: Any
    ) -> None:
        super().__init__(alpha, beta, **options)
        self.gamma = gamma

    def of_classes(self, intersection: Tensor, prob_sum: Tensor, count: Tensor) -> Tensor:
        """Power of the Tversky loss; its gradient stays finite at 0."""
        losses = super().of_classes(intersection, prob_sum, count)
        return losses.clamp_min(torch.finfo(losses.dtype).tiny) ** (1 / self.gamma)
