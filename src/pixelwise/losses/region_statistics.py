"""Four sums for each class of an image, from which region losses and cross-entropy are computed.

`region_statistics` needs one softmax and no one-hot tensors, and has its gradient in closed form. A loss is
then a formula on (G, K) tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pixelwise.losses.reduction import check_one_label, full_precision, is_soft, soft_shares
from pixelwise.types import ignored_label


@dataclass(frozen=True)
class RegionStatistics:
    """Sums over the labelled pixels of each image, each (B, K) in float32 at least."""

    intersection: Tensor
    """Sum of the probability of a class over its own pixels."""
    prob_sum: Tensor
    """Sum of the probability of a class over all labelled pixels."""
    count: Tensor
    """Number of pixels of a class."""
    nll: Tensor
    """Sum of -log of the probability of a class over its own pixels: the negative log-likelihood."""


class _RegionStatistics(torch.autograd.Function):
    """Softmax and four sums as one autograd node with a closed-form gradient.

    Plain autograd would keep several tensors of the size of the logits; this node keeps only the
    probabilities p. A loss depends on them through three sums over pixels n,

        I_k = sum_n p_nk [t_n = k],   P_k = sum_n p_nk,   S_k = -sum_n log p_nk [t_n = k].

    With a = dL/dI, b = dL/dP and c = dL/dS its gradient at a pixel of class t is, through the softmax,

        dL/dlogit_k = p_k (b_k - sum_j p_j b_j - r) + r [t = k],   r = p_t a_t - c_t.

    Ignored pixels have p = r = 0, so they add nothing to a sum and their gradient is zero.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Statistics (B, K) each, of (B, K, H, W) logits and a (B, H, W) target."""
        labelled = target != ignored_label(logits.shape[1])
        target = target.where(labelled, 0)
        # The softmax is computed in place, in one new tensor that keeps the memory format of the logits
        # (torch.softmax returns NCHW for channels-last logits). Half precision becomes float32.
        dtype = torch.promote_types(logits.dtype, torch.float32)
        probability = logits - logits.amax(1, keepdim=True).to(dtype)
        truth = probability.gather(1, target.unsqueeze(1)).squeeze(1)
        total = probability.exp_().sum(1)
        share = labelled / total
        probability.mul_(share.unsqueeze(1))
        of_truth = truth.exp().mul_(share)
        nll = total.log_().sub_(truth).mul_(labelled)

        # Sum each row of pixels, then the rows: one running sum over millions of pixels loses digits in
        # float32, and threads would wait for each other to update the same K numbers.
        batch, classes, height, _ = logits.shape
        intersection, count, nll = (
            pixels.new_zeros(batch, height, classes).scatter_add_(2, target, pixels).sum(1)
            for pixels in (of_truth, labelled.to(dtype), nll)
        )
        prob_sum = probability.sum((2, 3))

        ctx.save_for_backward(probability, target, of_truth, labelled)
        ctx.logits_dtype = logits.dtype
        ctx.mark_non_differentiable(count)
        return intersection, prob_sum, count, nll

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        """Gradient (B, K, H, W) of the logits; the target has none."""
        probability, target, of_truth, labelled = ctx.saved_tensors
        by_intersection, by_prob_sum, _, by_nll = grads

        def of_pixels(grad: Tensor) -> Tensor:
            return grad.gather(1, target.flatten(1)).view_as(of_truth)

        own = of_pixels(by_intersection).mul_(of_truth).sub_(of_pixels(by_nll).mul_(labelled))
        gradient = probability * by_prob_sum[:, :, None, None]
        common = gradient.sum(1).add_(own)
        gradient.addcmul_(probability, common.unsqueeze(1), value=-1)
        # Overwriting the true class's entry is five times faster than adding to it.
        own.addcmul_(of_truth, of_pixels(by_prob_sum).sub_(common))
        gradient.scatter_(1, target.unsqueeze(1), own.unsqueeze(1))
        return gradient.to(ctx.logits_dtype), None


def region_statistics(logits: Tensor, target: Tensor) -> RegionStatistics:
    """Region statistics (B, K) of each image and class, over its labelled pixels.

    Args:
        logits: (B, K, H, W), or (B, K) for images of one pixel; any floating type and memory format.
        target: (B, H, W) or (B,) int64 with `IGNORE`, or a soft target of the shape of the logits.
    """
    if is_soft(target):
        return _of_soft_target(logits, target)
    check_one_label(logits, target)
    if logits.ndim == 2:
        logits, target = logits[:, :, None, None], target[:, None, None]
    return RegionStatistics(*_RegionStatistics.apply(logits, target))


def _of_soft_target(logits: Tensor, target: Tensor) -> RegionStatistics:
    """The statistics for a soft target q (Wang et al. 2023, "Jaccard Metric Losses").

    The intersection is the sum of min(p, q), which is (p + q - |p - q|) / 2. For q of ones and zeros it is
    the sum of p q; unlike p q it makes p = q the best prediction for every q.
    """
    logits = full_precision(logits)
    shares, labelled = soft_shares(logits, target)
    probability = logits.softmax(1) * labelled.unsqueeze(1)
    tensors = torch.minimum(probability, shares), probability, shares, -shares * logits.log_softmax(1)
    return RegionStatistics(*(tensor.flatten(2).sum(2) if tensor.ndim > 2 else tensor for tensor in tensors))
