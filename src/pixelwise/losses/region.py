"""Losses of overlap between the predicted and the true region of each class.

A region loss needs three numbers of a class only: how much probability falls on its own pixels
(`intersection`), how much there is in all (`mass`), and how many pixels it has (`count`).
`region_statistics` finds them without one-hot volumes; what is left of a loss is a formula on (G, K) tensors.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from pixelwise.errors import UserError
from pixelwise.types import IGNORE


class _RegionStatistics(torch.autograd.Function):
    """Softmax and three sums in one node, whose backward is the closed form.

    Autograd would keep several volumes as large as the logits and walk back through each; here the
    probabilities p are the only one. A loss sees them through I_k = sum_n p_nk [t_n = k] and P_k = sum_n p_nk
    alone, so with a = dL/dI and b = dL/dP its slope at a pixel's p_k is g_k = a_k [t = k] + b_k, and through
    the softmax

        dL/dlogit_k = p_k (g_k - sum_j p_j g_j).

    Ignored pixels have p = 0 throughout: they add nothing to a sum, and the same p makes their gradient zero.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Statistics (B, K) each, of (B, K, H, W) logits and a (B, H, W) target."""
        labelled = target != IGNORE
        target = target.where(labelled, 0)
        # The softmax by hand: in place, so the only new volume, and in the logits' own memory format
        # (torch.softmax answers channels-last logits in NCHW). Half precision becomes float32.
        dtype = torch.promote_types(logits.dtype, torch.float32)
        probability = logits.to(dtype, copy=True)
        probability.sub_(probability.amax(1, keepdim=True)).exp_()
        probability.mul_(labelled.unsqueeze(1) / probability.sum(1, keepdim=True))
        of_truth = probability.gather(1, target.unsqueeze(1)).squeeze(1)

        # One sum for each row of pixels, then over rows: exact enough in float32, where one running sum over
        # millions of pixels is not, and without all threads waiting for the same K numbers.
        batch, classes, height, _ = logits.shape
        rows = probability.new_zeros(2, batch, height, classes)
        intersection = rows[0].scatter_add_(2, target, of_truth).sum(1)
        count = rows[1].scatter_add_(2, target, labelled.to(dtype)).sum(1)
        mass = probability.sum((2, 3))

        ctx.save_for_backward(probability, target, of_truth)
        ctx.logits_dtype = logits.dtype
        ctx.mark_non_differentiable(count)
        return intersection, mass, count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None]:
        """Gradient (B, K, H, W) for the logits; the target has none."""
        by_intersection, by_mass, _ = slopes
        probability, target, of_truth = ctx.saved_tensors
        own = by_intersection.gather(1, target.flatten(1)).view_as(of_truth) * of_truth  # p_t a_t
        gradient = probability * by_mass[:, :, None, None]  # p_k b_k
        mean_slope = gradient.sum(1).add_(own)  # sum_j p_j g_j
        gradient.addcmul_(probability, mean_slope.unsqueeze(1), value=-1)
        gradient.scatter_add_(1, target.unsqueeze(1), own.unsqueeze(1))
        return gradient.to(ctx.logits_dtype), None


def region_statistics(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Soft overlap of each image with each class, over the labelled pixels.

    Args:
        logits: (B, K, H, W), or (B, K) for images of one pixel; any floating type and memory format.
        target: (B, H, W) or (B,) int64 with `IGNORE`.

    Returns:
        `intersection`, `mass` and `count`, each (B, K) in float32 at least: the probability of a class on its
        own pixels, its probability anywhere, and its number of pixels. The first two are differentiable.
    """
    if logits.ndim == 2:
        logits, target = logits[:, :, None, None], target[:, None, None]
    return _RegionStatistics.apply(logits, target)


class RegionLoss(nn.Module):
    """One minus an overlap between 0 and 1, averaged over classes. A subclass says which overlap.

    The overlap of a class is that of the whole batch as if it were one picture, as in SMP 0.6, whose values
    the defaults reproduce: a class without any labelled pixel adds 0 to a mean over all K classes.

    Args:
        per_image: take each image alone, and average over the images that have a labelled pixel.
        present_only: average over the classes that have a labelled pixel, instead of over all K. The minima
            are the same; the loss no longer shrinks where few of the classes are in view.
        smooth: pixels added to numerator and denominator of the overlap: softens the loss of small regions.
    """

    def __init__(self, per_image: bool = False, present_only: bool = False, smooth: float = 0.0) -> None:
        super().__init__()
        if not smooth >= 0:
            raise UserError("loss.smooth: not a number of pixels", found=smooth, expected="a number >= 0")
        self.per_image = per_image
        self.present_only = present_only
        self.smooth = smooth

    def overlap(self, intersection: Tensor, mass: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        """Numerator and denominator of the overlap, each (G, K), from statistics (G, K)."""
        raise NotImplementedError

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Scalar loss of (B, K[, H, W]) logits and a (B[, H, W]) target."""
        intersection, mass, count = region_statistics(logits, target)
        if not self.per_image:
            intersection, mass, count = (s.sum(0, keepdim=True) for s in (intersection, mass, count))
        numerator, denominator = self.overlap(intersection, mass, count)
        overlap = (numerator + self.smooth) / (denominator + self.smooth).clamp_min(1e-7)

        present = count > 0
        averaged_over = present.sum(1).clamp_min(1) if self.present_only else count.shape[1]
        losses = ((1 - overlap) * present).sum(1) / averaged_over
        return losses.sum() / present.any(1).sum().clamp_min(1)


class Dice(RegionLoss):
    """One minus 2 I / (P + T), the soft Dice coefficient (Milletari et al. 2016, "V-Net", without squares).

    Equal to SMP's `DiceLoss(mode="multiclass", ignore_index=255)`, also with `smooth`, which is added to
    I / ((P + T) / 2): it is half of the s in formulas that read (2 I + s) / (P + T + s).
    """

    def overlap(self, intersection: Tensor, mass: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        """Intersection, and the mean size of the two regions."""
        return intersection, (mass + count) / 2
