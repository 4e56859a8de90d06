"""The Lovász-Softmax loss: IoU itself, extended to probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pixelwise.losses.reduction import (
    check_one_label,
    full_precision,
    mean_over_classes,
    mean_over_pictures,
    weights_for,
    weights_tensor,
)
from pixelwise.types import IGNORE


class Lovasz(nn.Module):
    """Mean over classes of the Lovász extension of 1 - IoU (Berman et al. 2018, "The Lovász-Softmax loss").

    1 - IoU of a class is a function of the set of its wrong pixels. The extension to errors between 0 and 1
    is linear as long as their order stays: slopes are constants, and no gradient goes through the sort.
    Equal to SMP's `LovaszLoss(mode="multiclass", ignore_index=255)`: the mean is over the classes that have a
    labelled pixel.

    Args:
        per_image: take each image alone, and average over the images that have a labelled pixel; otherwise
            the whole batch is one picture.
        class_weights: one weight for each class, for a weighted mean; None weighs all classes alike.
    """

    class_weights: Tensor | None

    def __init__(self, per_image: bool = False, class_weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.per_image = per_image
        self.register_buffer("class_weights", weights_tensor(class_weights), persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Scalar loss of (B, K[, H, W]) logits and a (B[, H, W]) target."""
        check_one_label(logits, target)
        logits = full_precision(logits)
        weights = weights_for(logits, self.class_weights)
        probability = logits.softmax(1).reshape(*logits.shape[:2], -1)
        target = target.reshape(len(target), -1)
        if not self.per_image:
            probability, target = probability.transpose(0, 1).flatten(1)[None], target.flatten()[None]

        classes = torch.arange(logits.shape[1], device=target.device)
        truth = target.unsqueeze(1) == classes[:, None]  # (G, K, N)
        present = truth.any(2)
        errors = (probability - truth.to(probability.dtype)).abs() * (target != IGNORE).unsqueeze(1)
        slopes = torch.zeros_like(errors)
        for picture, label in present.nonzero().tolist():
            slopes[picture, label] = lovasz_slopes(errors[picture, label].detach(), truth[picture, label])

        losses = mean_over_classes((errors * slopes).sum(2), present, weights, present_only=True)
        return mean_over_pictures(losses, present)


def lovasz_slopes(errors: Tensor, truth: Tensor) -> Tensor:
    """Slopes of the Lovász extension of one class's 1 - IoU (the paper's algorithm 1).

    With the pixels from the worst to the best, a pixel's slope is what 1 - IoU = 1 - I / U grows by when this
    one becomes wrong, too: 1 / U if it is of the class, as I falls by one, and else I / (U - 1) - I / U. The
    closed forms keep digits that differences of numbers near 1 lose in float32.

    Args:
        errors: how wrong each pixel is, (N,) and at least 0; an ignored one is 0.
        truth: bool (N,), with at least one pixel of the class.
    """
    # The bits of such numbers, read as integers, have the same order, and sorting integers is a radix sort.
    bits = errors.view(torch.int32 if errors.dtype == torch.float32 else torch.int64)
    worst_first = bits.neg().argsort()
    truth = truth[worst_first]
    pixels, wrong = truth.sum(), truth.cumsum(0)
    intersection = (pixels - wrong).to(errors.dtype)
    union = (pixels + torch.arange(1, len(truth) + 1, device=truth.device) - wrong).to(errors.dtype)
    slopes = torch.where(truth, 1 / union, intersection / (union * (union - 1)))
    return torch.empty_like(errors).scatter_(0, worst_first, slopes)
