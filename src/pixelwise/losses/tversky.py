"""Overlap in which the two kinds of mistakes have their own prices."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pixelwise.errors import UserError
from pixelwise.losses.region import OverlapLoss


class Tversky(OverlapLoss):
    """One minus I / (I + alpha FP + beta FN) (Salehi et al. 2017, "Tversky loss function").

    FP = P - I is probability on the pixels of other classes, FN = T - I what is missing on the own ones. So
    beta > alpha finds more of a class at the price of false alarms. alpha = beta = 1/2 is `Dice`, 1 is
    `Jaccard`. Equal to SMP's `TverskyLoss(mode="multiclass", ignore_index=255)`.

    Args:
        alpha: what a false positive costs.
        beta: what a false negative costs; the paper's best are 0.3 and 0.7.
        **options: of every overlap loss.
    """

    def __init__(self, alpha: float = 0.3, beta: float = 0.7, **options: Any) -> None:
        super().__init__(**options)
        for name, cost in (("alpha", alpha), ("beta", beta)):
            if not cost >= 0:
                raise UserError(f"loss.{name}: not a cost", found=cost, expected="a number >= 0")
        self.alpha = alpha
        self.beta = beta

    def overlap(self, intersection: Tensor, mass: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        """Intersection, and what it is compared with."""
        false_positives, false_negatives = mass - intersection, count - intersection
        return intersection, intersection + self.alpha * false_positives + self.beta * false_negatives


class FocalTversky(Tversky):
    """The Tversky loss of each class to the power 1 / gamma (Abraham & Khan 2019, "Focal Tversky Loss").

    gamma > 1 goes on pushing classes that overlap well already, gamma < 1 turns to those that do not. The
    paper sums over classes and calls the cost of a false negative alpha; here it is a mean, and beta.

    Args:
        alpha: what a false positive costs.
        beta: what a false negative costs.
        gamma: the paper's best is 4/3; 1 is `Tversky`.
        **options: of every overlap loss.
    """

    def __init__(self, alpha: float = 0.3, beta: float = 0.7, gamma: float = 4 / 3, **options: Any) -> None:
        super().__init__(alpha, beta, **options)
        if not gamma > 0:
            raise UserError("loss.gamma: not a power", found=gamma, expected="a number > 0")
        self.gamma = gamma

    def of_classes(self, intersection: Tensor, mass: Tensor, count: Tensor) -> Tensor:
        """Power of the Tversky loss, whose slope stays finite at 0."""
        losses = super().of_classes(intersection, mass, count)
        return losses.clamp_min(torch.finfo(losses.dtype).tiny) ** (1 / self.gamma)
