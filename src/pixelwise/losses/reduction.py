"""Shared by the losses: checks, precision, class weights, means over pixels, classes and images."""

from __future__ import annotations

import torch
from torch import Tensor

from pixelwise.errors import UserError
from pixelwise.kinds import ClassWeights
from pixelwise.types import IGNORE, ignored_label


def is_soft(target: Tensor) -> bool:
    """Whether a target holds shares of the classes (B, K[, H, W]) instead of indices (B[, H, W])."""
    return target.is_floating_point()


def soft_shares(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Shares of the classes in a soft target, and where it is labelled.

    Args:
        logits: (B, K[, H, W]).
        target: the soft target of the same shape; `IGNORE` in all classes of an ignored pixel.

    Returns:
        The shares in the shape and precision of the logits, 0 in ignored pixels; and bool (B[, H, W]).

    Raises:
        UserError: the target does not have the shape of the logits.
    """
    if target.shape != logits.shape:
        raise UserError(
            "loss: a soft target needs a share for each class",
            found=f"a target {tuple(target.shape)} for logits {tuple(logits.shape)}",
            expected="both of the same shape",
        )
    labelled = (target != IGNORE).all(1)
    return target.where(labelled.unsqueeze(1), 0).to(logits.dtype), labelled


def along_classes(weights: Tensor, logits: Tensor) -> Tensor:
    """View class weights (K,) so that they multiply tensors (B, K[, H, W])."""
    return weights.view(-1, *[1] * (logits.ndim - 2))


def check_one_label(logits: Tensor, target: Tensor) -> None:
    """Raise a `UserError` for a target with several labels per image, which has the shape of the logits."""
    if target.ndim != logits.ndim - 1:
        raise UserError(
            "loss: needs one label for each image or pixel",
            found=f"a target {tuple(target.shape)} for logits {tuple(logits.shape)}",
            fix="loss=bce, if each image has several labels (task=tagging)",
        )


def full_precision(logits: Tensor) -> Tensor:
    """Convert logits to float32; float64 stays as it is (for `gradcheck`)."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def weights_tensor(class_weights: ClassWeights | None) -> Tensor | None:
    """Convert class weights to a float32 tensor (K,); None stays None."""
    return None if class_weights is None else torch.tensor([float(weight) for weight in class_weights])


def weights_for(logits: Tensor, class_weights: Tensor | None, name: str = "class_weights") -> Tensor | None:
    """Class weights (K,) in the precision of (B, K, ...) logits, after a check that there are K of them.

    Raises:
        UserError: the number of weights is not the number of classes.
    """
    if class_weights is None:
        return None
    if len(class_weights) != logits.shape[1]:
        raise UserError(
            f"loss.{name}: needs one weight for each class",
            found=f"{len(class_weights)} weights",
            expected=f"{logits.shape[1]} weights, in the order of the classes",
            fix=f"give {logits.shape[1]} weights, or loss.{name}=null",
        )
    return class_weights.to(logits.dtype)


def pixel_weights(target: Tensor, class_weights: Tensor | None, classes: int) -> Tensor:
    """Weight of each pixel in a mean: that of its class (1 without class weights), 0 for ignored pixels.

    Args:
        target: class indices with the ignored label, of any shape.
        class_weights: (K,) or None.
        classes: K.

    Returns:
        The weights in the shape of `target`; bool without class weights.
    """
    labelled = target != ignored_label(classes)
    if class_weights is None:
        return labelled
    return class_weights[target.where(labelled, 0)] * labelled


def mean_over(total: Tensor, weight: Tensor) -> Tensor:
    """Return `total / weight`, or 0 where the weight is 0."""
    return total / torch.where(weight > 0, weight, 1)


def mean_over_classes(
    losses: Tensor, present: Tensor, class_weights: Tensor | None, present_only: bool
) -> Tensor:
    """Mean (G,) over the classes of each image; a class without a labelled pixel adds 0.

    Args:
        losses: (G, K); finite for all classes, present or not.
        present: bool (G, K), True if the class has a labelled pixel in the image.
        class_weights: (K,) or None.
        present_only: divide by the weights of the present classes instead of those of all classes.
    """
    weights = torch.ones_like(losses[0]) if class_weights is None else class_weights
    counted = weights * present
    divisor = counted.sum(1) if present_only else weights.sum()
    return mean_over((counted * losses).sum(1), divisor)


def mean_over_images(losses: Tensor, present: Tensor) -> Tensor:
    """Mean of losses (G,) over the images with a labelled pixel, that is with any `present` (G, K)."""
    return mean_over(losses.sum(), present.any(1).sum())
