"""Losses of overlap between the predicted and the true region of each class.

A region loss needs three numbers of a class only: how much probability falls on its own pixels
(`intersection`), how much there is in all (`mass`), and how many pixels it has (`count`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pixelwise.errors import UserError
from pixelwise.losses.reduction import mean_over, mean_over_classes, weights_for, weights_tensor
from pixelwise.losses.region_statistics import RegionStatistics, region_statistics
from pixelwise.losses.sums import Labels, SummedLoss


class RegionLoss(SummedLoss):
    """A loss of region statistics alone. A subclass says which, for each picture.

    Args:
        per_image: take each image alone, and average over the images that have a labelled pixel; otherwise
            the whole batch is one picture.
    """

    def __init__(self, per_image: bool = False) -> None:
        super().__init__()
        self.per_image = self.by_image = per_image

    def of_pictures(self, intersection: Tensor, mass: Tensor, count: Tensor) -> Tensor:
        """Loss (G,) of pictures with statistics (G, K); 0 for one without any labelled pixel."""
        raise NotImplementedError

    def sums_of_statistics(self, statistics: RegionStatistics) -> Tensor:
        """What is added up of images with these statistics.

        Returns:
            (3, K): intersection, mass and count of all images together; or with `per_image` (2,): the sum of
            the images' losses, and the number of images with a labelled pixel.
        """
        intersection, mass, count = statistics.intersection, statistics.mass, statistics.count
        if not self.per_image:
            return torch.stack([intersection.sum(0), mass.sum(0), count.sum(0)])
        losses = self.of_pictures(intersection, mass, count)
        return torch.stack([losses.sum(), (count > 0).any(1).sum().to(losses.dtype)])

    def sums(self, logits: Tensor, target: Tensor) -> Tensor:
        """What is added up of (B, K[, H, W]) logits and a (B[, H, W]) target."""
        return self.sums_of_statistics(region_statistics(logits, target))

    def finish(self, sums: Tensor) -> Tensor:
        """Scalar loss of one picture with these statistics, or the mean over images."""
        return mean_over(*sums) if self.per_image else self.of_pictures(*sums[:, None]).sum()

    def weight(self, labels: Labels) -> Tensor:
        """The number of labelled images or pixels."""
        return labels.images if self.per_image else labels.by_class.sum()


class OverlapLoss(RegionLoss):
    """One minus an overlap of at most 1, averaged over classes. A subclass says which overlap.

    The defaults reproduce SMP 0.6: a class without any labelled pixel adds 0 to a mean over all K classes.

    Args:
        per_image: take each image alone, and average over the images that have a labelled pixel; otherwise
            the whole batch is one picture.
        present_only: average over the classes that have a labelled pixel, instead of over all K. The minima
            are the same; the loss no longer shrinks where few of the classes are in view.
        smooth: pixels added to numerator and denominator of the overlap: softens the loss of small regions.
        class_weights: one weight for each class, for a weighted mean; None weighs all classes alike.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        per_image: bool = False,
        present_only: bool = False,
        smooth: float = 0.0,
        class_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__(per_image)
        if not smooth >= 0:
            raise UserError("loss.smooth: not a number of pixels", found=smooth, expected="a number >= 0")
        self.present_only = present_only
        self.smooth = smooth
        self.register_buffer("class_weights", weights_tensor(class_weights), persistent=False)

    def overlap(self, intersection: Tensor, mass: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        """Numerator and denominator of the overlap in pixels, each (G, K), from statistics (G, K)."""
        raise NotImplementedError

    def of_classes(self, intersection: Tensor, mass: Tensor, count: Tensor) -> Tensor:
        """Loss (G, K) of each class; those without a labelled pixel are about to be left out."""
        numerator, denominator = self.overlap(intersection, mass, count)
        return 1 - (numerator + self.smooth) / (denominator + self.smooth).clamp_min(1e-7)

    def of_pictures(self, intersection: Tensor, mass: Tensor, count: Tensor) -> Tensor:
        """Mean (G,) over classes."""
        losses = self.of_classes(intersection, mass, count)
        return mean_over_classes(losses, count > 0, weights_for(count, self.class_weights), self.present_only)


class Dice(OverlapLoss):
    """One minus 2 I / (P + T), the soft Dice coefficient (Milletari et al. 2016, "V-Net", without squares).

    Equal to SMP's `DiceLoss(mode="multiclass", ignore_index=255)`, also with `smooth`, which is added to
    I / ((P + T) / 2): it is half of the s in formulas that read (2 I + s) / (P + T + s).
    """

    def overlap(self, intersection: Tensor, mass: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        """Intersection, and the mean size of the two regions."""
        return intersection, (mass + count) / 2


class Jaccard(OverlapLoss):
    """One minus I / (P + T - I), the soft IoU (Rahman & Wang 2016, "Optimizing Intersection-Over-Union").

    Equal to SMP's `JaccardLoss(mode="multiclass", ignore_index=255)`.
    """

    def overlap(self, intersection: Tensor, mass: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        """Intersection and union."""
        return intersection, mass + count - intersection


class GeneralizedDice(RegionLoss):
    """One minus 2 sum_k w_k I_k / sum_k w_k (P_k + T_k) where w_k = 1 / T_k^2 (Sudre et al. 2017).

    One Dice of all classes together, in which a class counts the less the larger it is. A class without any
    labelled pixel, whose weight would be infinite, is left out.

    Args:
        per_image: take each image alone, and average over the images that have a labelled pixel; otherwise
            the whole batch is one picture.
        power: of T in the weight: 2 is the paper's, 1 is milder, 0 weighs classes by their size alone.
    """

    def __init__(self, per_image: bool = False, power: float = 2.0) -> None:
        super().__init__(per_image)
        if not power >= 0:
            raise UserError("loss.power: would favour large classes", found=power, expected="a number >= 0")
        self.power = power

    def of_pictures(self, intersection: Tensor, mass: Tensor, count: Tensor) -> Tensor:
        """One Dice for each picture."""
        present = count > 0
        # Weights relative to the smallest class: 1 / T^2 of large pictures leaves the range of float32.
        smallest = count.where(present, torch.inf).amin(1, keepdim=True)
        weights = torch.where(present, (smallest / count) ** self.power, 0)
        overlap = 2 * (weights * intersection).sum(1)
        return present.any(1) * (1 - overlap / (weights * (mass + count)).sum(1).clamp_min(1e-7))
