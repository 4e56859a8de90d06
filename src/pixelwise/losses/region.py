"""Losses that measure the overlap of the predicted and the true region of each class.

A region loss needs three numbers for each class: the sum of its probability over its own pixels
(`intersection`), the sum of its probability over all pixels (`prob_sum`), and the number of its pixels
(`count`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from pixelwise.checks import checked
from pixelwise.kinds import ClassWeights, NonNegative
from pixelwise.losses.reduction import mean_over, mean_over_classes, weights_for, weights_tensor
from pixelwise.losses.region_statistics import RegionStatistics, region_statistics
from pixelwise.losses.sums import Labels, SummedLoss


@checked
class RegionLoss(SummedLoss):
    """Base of losses that depend on region statistics only; a subclass defines `of_images`.

    Args:
        per_image: compute the loss of each image and average over the images with a labelled pixel; otherwise
            treat the whole batch as one image.
    """

    soft_targets = True

    def __init__(self, per_image: bool = False) -> None:
        super().__init__()
        self.per_image = self.by_image = per_image

    def of_images(self, intersection: Tensor, prob_sum: Tensor, count: Tensor) -> Tensor:
        """Loss (G,) of images with statistics (G, K); 0 for an image without a labelled pixel."""
        raise NotImplementedError

    def sums_of_statistics(self, statistics: RegionStatistics) -> Tensor:
        """Sums over a batch, from its statistics.

        Returns:
            (3, K): intersection, prob_sum and count of all images together. With `per_image` (2,): the sum
            of the images' losses, and the number of images with a labelled pixel.
        """
        intersection, prob_sum, count = statistics.intersection, statistics.prob_sum, statistics.count
        if not self.per_image:
            return torch.stack([intersection.sum(0), prob_sum.sum(0), count.sum(0)])
        losses = self.of_images(intersection, prob_sum, count)
        return torch.stack([losses.sum(), (count > 0).any(1).sum().to(losses.dtype)])

    def sums(self, logits: Tensor, target: Tensor) -> Tensor:
        """Sums over a batch of (B, K[, H, W]) logits and a (B[, H, W]) target."""
        return self.sums_of_statistics(region_statistics(logits, target))

    def finish(self, sums: Tensor) -> Tensor:
        """Scalar loss from the sums: of one image with these statistics, or the mean over images."""
        return mean_over(*sums) if self.per_image else self.of_images(*sums[:, None]).sum()

    def weight(self, labels: Labels) -> Tensor:
        """Number of labelled images (`per_image`) or pixels."""
        return labels.images if self.per_image else labels.by_class.sum()


@checked
class OverlapLoss(RegionLoss):
    """One minus an overlap of at most 1, averaged over classes; a subclass defines `overlap`.

    The defaults reproduce SMP 0.6: a class without a labelled pixel adds 0 to a mean over all K classes.

    Args:
        per_image: compute the loss of each image and average over the images with a labelled pixel; otherwise
            treat the whole batch as one image.
        present_only: average over the classes with a labelled pixel instead of over all K. The minima are
            the same, but the loss does not become smaller when a batch shows few classes.
        smooth: number of pixels added to numerator and denominator of the overlap; it softens the loss of
            small regions.
        class_weights: one weight for each class, for a weighted mean; None gives all classes the same weight.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        per_image: bool = False,
        present_only: bool = False,
        smooth: NonNegative = 0.0,
        class_weights: ClassWeights | None = None,
    ) -> None:
        super().__init__(per_image)
        self.present_only = present_only
        self.smooth = smooth
        self.register_buffer("class_weights", weights_tensor(class_weights), persistent=False)

    def overlap(self, intersection: Tensor, prob_sum: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        """Numerator and denominator of the overlap in pixels, each (G, K), from statistics (G, K)."""
        raise NotImplementedError

    def of_classes(self, intersection: Tensor, prob_sum: Tensor, count: Tensor) -> Tensor:
        """Loss (G, K) of each class; `mean_over_classes` ignores classes without a labelled pixel."""
        numerator, denominator = self.overlap(intersection, prob_sum, count)
        return 1 - (numerator + self.smooth) / (denominator + self.smooth).clamp_min(1e-7)

    def of_images(self, intersection: Tensor, prob_sum: Tensor, count: Tensor) -> Tensor:
        """Mean (G,) over classes."""
        losses = self.of_classes(intersection, prob_sum, count)
        return mean_over_classes(losses, count > 0, weights_for(count, self.class_weights), self.present_only)


class Dice(OverlapLoss):
    """One minus 2 I / (P + T), the soft Dice coefficient (Milletari et al. 2016, "V-Net", without squares).

    Equal to SMP's `DiceLoss(mode="multiclass", ignore_index=255)`, also with `smooth`, which is added to
    I / ((P + T) / 2): it is half of the s in the formula (2 I + s) / (P + T + s).
    """

    def overlap(self, intersection: Tensor, prob_sum: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        """Intersection, and the mean size of the two regions."""
        return intersection, (prob_sum + count) / 2


class Jaccard(OverlapLoss):
    """One minus I / (P + T - I), the soft IoU (Rahman & Wang 2016, "Optimizing Intersection-Over-Union").

    Equal to SMP's `JaccardLoss(mode="multiclass", ignore_index=255)`.
    """

    def overlap(self, intersection: Tensor, prob_sum: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        """Intersection and union."""
        return intersection, prob_sum + count - intersection


@checked
class GeneralizedDice(RegionLoss):
    """One minus 2 sum_k w_k I_k / sum_k w_k (P_k + T_k) where w_k = 1 / T_k^2 (Sudre et al. 2017).

    One Dice coefficient of all classes together; large classes have small weights. A class without a labelled
    pixel would have an infinite weight and is left out.

    Args:
        per_image: compute the loss of each image and average over the images with a labelled pixel; otherwise
            treat the whole batch as one image.
        power: exponent of T in the weight. The paper uses 2; 0 gives every class the weight 1.
    """

    def __init__(self, per_image: bool = False, power: NonNegative = 2.0) -> None:
        super().__init__(per_image)
        self.power = power

    def of_images(self, intersection: Tensor, prob_sum: Tensor, count: Tensor) -> Tensor:
        """Generalised Dice loss of each image."""
        present = count > 0
        # Weights relative to the smallest class: 1 / T^2 of large images leaves the range of float32.
        smallest = count.where(present, torch.inf).amin(1, keepdim=True)
        weights = torch.where(present, (smallest / count) ** self.power, 0)
        overlap = 2 * (weights * intersection).sum(1)
        return present.any(1) * (1 - overlap / (weights * (prob_sum + count)).sum(1).clamp_min(1e-7))
