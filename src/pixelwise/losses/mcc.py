"""A loss from Matthews' correlation coefficient."""

from __future__ import annotations

import torch
from torch import Tensor

from pixelwise.losses.region import OverlapLoss


class MCC(OverlapLoss):
    """One minus Matthews' correlation of each class against the rest (Abhishek & Hamarneh 2021, "MCC Loss").

    From TP = I, FP = P - I, FN = T - I and TN = N - P - T + I of N labelled pixels:

        (TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN))
            = (I - P T / N) / sqrt(P (1 - P / N) T (1 - T / N)).

    For two classes it is the paper's loss and SMP's `MCCLoss(eps=0)`. It lies between 0 and 2, and is 1 if
    prediction and truth are uncorrelated. A class that fills the whole image has no correlation and adds 0.
    """

    def overlap(self, intersection: Tensor, prob_sum: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        """Covariance, and the product of the deviations."""
        pixels = count.sum(1, keepdim=True).clamp_min(1)
        others, rest = _of_others(prob_sum), _of_others(count)
        # A class and its complement have the same correlation. If the class fills most of a large image, only
        # the numbers of the complement are small enough for float32. With two classes it is the other class.
        of_rest = intersection.flip(1) if count.shape[1] == 2 else others - (count - intersection)
        hits = torch.where(count > rest, of_rest, intersection)
        smaller, predicted = torch.minimum(count, rest), torch.where(count > rest, others, prob_sum)
        variances = (prob_sum * others / pixels) * (count * rest / pixels)
        deviations = variances.clamp_min(1e-14).sqrt()
        covariance = (hits - predicted * smaller / pixels).clamp(-deviations, deviations)
        defined = count < pixels
        return covariance.where(defined, 1), deviations.where(defined, 1)


def _of_others(numbers: Tensor) -> Tensor:
    """For each class the sum of numbers (G, K) over the other classes, summed without subtraction."""
    return (numbers[:, None] * (1 - torch.eye(numbers.shape[1]).to(numbers))).sum(2)
