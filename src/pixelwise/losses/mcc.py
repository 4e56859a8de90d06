"""Correlation of prediction and truth."""

from __future__ import annotations

import torch
from torch import Tensor

from pixelwise.losses.region import OverlapLoss


class MCC(OverlapLoss):
    """One minus Matthews' correlation of a class against the rest (Abhishek & Hamarneh 2021, "MCC Loss").

    From TP = I, FP = P - I, FN = T - I and TN = N - P - T + I of N labelled pixels:

        (TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN))
            = (I - P T / N) / sqrt(P (1 - P / N) T (1 - T / N)).

    For two classes it is the paper's loss and SMP's `MCCLoss(eps=0)`. It lies between 0 and 2, and is 1 where
    prediction and truth are unrelated. A class that fills the whole picture has no correlation and adds 0.
    """

    def overlap(self, intersection: Tensor, mass: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        """Covariance, and the product of the deviations."""
        pixels = count.sum(1, keepdim=True).clamp_min(1)
        others, rest = _of_others(mass), _of_others(count)
        # A class that fills most of a large picture and the rest of it correlate alike, but only the rest's
        # numbers are small enough for float32. Of two classes the rest is the other one.
        of_rest = intersection.flip(1) if count.shape[1] == 2 else others - (count - intersection)
        hits = torch.where(count > rest, of_rest, intersection)
        smaller, predicted = torch.minimum(count, rest), torch.where(count > rest, others, mass)
        variances = (mass * others / pixels) * (count * rest / pixels)
        deviations = variances.clamp_min(1e-14).sqrt()
        covariance = (hits - predicted * smaller / pixels).clamp(-deviations, deviations)
        defined = count < pixels
        return covariance.where(defined, 1), deviations.where(defined, 1)


def _of_others(numbers: Tensor) -> Tensor:
    """Of numbers (G, K), for each class the sum over the other classes, which no difference can give."""
    return (numbers[:, None] * (1 - torch.eye(numbers.shape[1]).to(numbers))).sum(2)
