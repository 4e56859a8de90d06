"""Correlation of prediction and truth."""

from __future__ import annotations

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
        covariance = intersection - mass * count / pixels
        variances = mass * (1 - mass / pixels) * count * (1 - count / pixels)
        defined = count < pixels
        deviations = variances.clamp_min(1e-14).sqrt()
        return covariance.where(defined, 1), deviations.where(defined, 1)
