"""All that region losses and cross-entropy see of a picture: four numbers for each class.

`region_statistics` finds them with one softmax and no one-hot volumes, and knows their gradient in closed
form; what is left of a loss is a formula on (G, K) tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pixelwise.losses.reduction import check_one_label
from pixelwise.types import IGNORE


@dataclass(frozen=True)
class RegionStatistics:
    """Sums over the labelled pixels of a picture, each (B, K) in float32 at least."""

    intersection: Tensor
    """Probability of a class on its own pixels."""
    mass: Tensor
    """Probability of a class anywhere."""
    count: Tensor
    """Number of pixels of a class."""
    surprise: Tensor
    """-log of the probability of a class on its own pixels."""


class _RegionStatistics(torch.autograd.Function):
    """Softmax and four sums in one node, whose backward is the closed form.

    Autograd would keep several volumes as large as the logits and walk back through each; here the
    probabilities p are the only one. A loss sees them through three sums over pixels n alone,

        I_k = sum_n p_nk [t_n = k],   P_k = sum_n p_nk,   S_k = -sum_n log p_nk [t_n = k].

    With a = dL/dI, b = dL/dP and c = dL/dS its slope at a pixel of class t is, through the softmax,

        dL/dlogit_k = p_k (b_k - sum_j p_j b_j - r) + r [t = k],   r = p_t a_t - c_t.

    Ignored pixels have p = r = 0: they add nothing to a sum, and the same zeros make their gradient zero.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Statistics (B, K) each, of (B, K, H, W) logits and a (B, H, W) target."""
        labelled = target != IGNORE
        target = target.where(labelled, 0)
        # The softmax by hand: in place, so the only new volume, and in the logits' own memory format
        # (torch.softmax answers channels-last logits in NCHW). Half precision becomes float32.
        dtype = torch.promote_types(logits.dtype, torch.float32)
        probability = logits - logits.amax(1, keepdim=True).to(dtype)
        truth = probability.gather(1, target.unsqueeze(1)).squeeze(1)
        total = probability.exp_().sum(1)
        share = labelled / total
        probability.mul_(share.unsqueeze(1))
        of_truth = truth.exp().mul_(share)
        surprise = total.log_().sub_(truth).mul_(labelled)

        # One sum for each row of pixels, then over rows: exact enough in float32, where one running sum over
        # millions of pixels is not, and without all threads waiting for the same K numbers.
        batch, classes, height, _ = logits.shape
        intersection, count, surprise = (
            pixels.new_zeros(batch, height, classes).scatter_add_(2, target, pixels).sum(1)
            for pixels in (of_truth, labelled.to(dtype), surprise)
        )
        mass = probability.sum((2, 3))

        ctx.save_for_backward(probability, target, of_truth, labelled)
        ctx.logits_dtype = logits.dtype
        ctx.mark_non_differentiable(count)
        return intersection, mass, count, surprise

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None]:
        """Gradient (B, K, H, W) for the logits; the target has none."""
        probability, target, of_truth, labelled = ctx.saved_tensors
        by_intersection, by_mass, _, by_surprise = slopes

        def of_pixels(slope: Tensor) -> Tensor:
            return slope.gather(1, target.flatten(1)).view_as(of_truth)

        own = of_pixels(by_intersection).mul_(of_truth).sub_(of_pixels(by_surprise).mul_(labelled))
        gradient = probability * by_mass[:, :, None, None]
        common = gradient.sum(1).add_(own)
        gradient.addcmul_(probability, common.unsqueeze(1), value=-1)
        # Overwriting the true class's entry is five times faster than adding to it.
        own.addcmul_(of_truth, of_pixels(by_mass).sub_(common))
        gradient.scatter_(1, target.unsqueeze(1), own.unsqueeze(1))
        return gradient.to(ctx.logits_dtype), None


def region_statistics(logits: Tensor, target: Tensor) -> RegionStatistics:
    """Soft overlap of each image with each class, over the labelled pixels.

    Args:
        logits: (B, K, H, W), or (B, K) for images of one pixel; any floating type and memory format.
        target: (B, H, W) or (B,) int64 with `IGNORE`.
    """
    check_one_label(logits, target)
    if logits.ndim == 2:
        logits, target = logits[:, :, None, None], target[:, None, None]
    return RegionStatistics(*_RegionStatistics.apply(logits, target))
