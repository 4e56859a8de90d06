"""The Lovász-Softmax loss: IoU extended to probabilities."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pixelwise.checks import checked
from pixelwise.kinds import ClassWeights
from pixelwise.losses.reduction import (
    check_one_label,
    full_precision,
    mean_over_classes,
    mean_over_images,
    weights_for,
    weights_tensor,
)
from pixelwise.types import ignored_label


@checked
class Lovasz(nn.Module):
    """Mean over classes of the Lovász extension of 1 - IoU (Berman et al. 2018, "The Lovász-Softmax loss").

    1 - IoU of a class is a function of the set of its wrong pixels. The extension to errors between 0 and 1
    is linear while the order of the errors does not change, so its gradient is constant and none flows
    through the sort. Equal to SMP's `LovaszLoss(mode="multiclass", ignore_index=255)`: the mean is over the
    classes that have a labelled pixel.

    Args:
        per_image: compute the loss of each image and average over the images with a labelled pixel; otherwise
            treat the whole batch as one image.
        class_weights: one weight for each class, for a weighted mean; None gives all classes the same weight.
    """

    class_weights: Tensor | None

    def __init__(self, per_image: bool = False, class_weights: ClassWeights | None = None) -> None:
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
        labelled = (target != ignored_label(len(classes))).unsqueeze(1)
        errors = (probability - truth.to(probability.dtype)).abs() * labelled
        grad = torch.zeros_like(errors)
        for image, label in present.nonzero().tolist():
            grad[image, label] = lovasz_grad(errors[image, label].detach(), truth[image, label])

        losses = mean_over_classes((errors * grad).sum(2), present, weights, present_only=True)
        return mean_over_images(losses, present)


def lovasz_grad(errors: Tensor, truth: Tensor) -> Tensor:
    """Gradient (N,) of the Lovász extension of 1 - IoU of one class (the paper's algorithm 1).

    Sort the pixels by falling error. The gradient of a pixel is the growth of 1 - IoU = 1 - I / U when this
    pixel becomes wrong after all before it: 1 / U if it belongs to the class (I falls by one), else
    I / (U - 1) - I / U. These closed forms keep digits that differences of numbers near 1 lose in float32.

    Args:
        errors: (N,), the absolute error of each pixel; 0 for ignored pixels.
        truth: bool (N,), True for pixels of the class, of which there is at least one.
    """
    # Non-negative floats have the order of their bits read as integers, and integers have a radix sort.
    bits = errors.view(torch.int32 if errors.dtype == torch.float32 else torch.int64)
    worst_first = bits.neg().argsort()
    truth = truth[worst_first]
    pixels, wrong = truth.sum(), truth.cumsum(0)
    intersection = (pixels - wrong).to(errors.dtype)
    union = (pixels + torch.arange(1, len(truth) + 1, device=truth.device) - wrong).to(errors.dtype)
    grad = torch.where(truth, 1 / union, intersection / (union * (union - 1)))
    return torch.empty_like(errors).scatter_(0, worst_first, grad)
