"""What losses have in common: checks, precision, class weights, means over pixels, classes and pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pixelwise.errors import UserError
from pixelwise.types import IGNORE


def check_one_label(logits: Tensor, target: Tensor) -> None:
    """Refuse a target of several labels at once, which has as many dimensions as its (B, K, ...) logits."""
    if target.ndim != logits.ndim - 1:
        raise UserError(
            "loss: needs one label for each image or pixel",
            found=f"a target {tuple(target.shape)} for logits {tuple(logits.shape)}",
            fix="loss=bce for several labels at once, as in task=tagging",
        )


def full_precision(logits: Tensor) -> Tensor:
    """The logits in float32, or in float64 where they are that already (as in `gradcheck`)."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def weights_tensor(class_weights: Sequence[float] | None, name: str = "class_weights") -> Tensor | None:
    """Class weights as a float32 (K,) tensor, or None for a plain mean; `name` is their option.

    Raises:
        UserError: a weight is negative or not finite, or there are words instead of weights.
    """
    if class_weights is None:
        return None
    if isinstance(class_weights, str):
        raise UserError(
            f"loss.{name}: not weights",
            found=class_weights,
            expected="one number for each class, or null; class_weights=auto where a training is configured",
        )
    weights = [float(weight) for weight in class_weights]
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights):
        raise UserError(f"loss.{name}: cannot weigh a class so", found=weights, expected="numbers >= 0")
    return torch.tensor(weights)


def weights_for(logits: Tensor, class_weights: Tensor | None, name: str = "class_weights") -> Tensor | None:
    """The (K,) class weights in the precision of (B, K, ...) logits, one for each of their classes.

    Raises:
        UserError: there are more or fewer weights than classes.
    """
    if class_weights is None:
        return None
    if len(class_weights) != logits.shape[1]:
        raise UserError(
            f"loss.{name}: needs one weight for each class",
            found=f"{len(class_weights)} weights",
            expected=f"{logits.shape[1]} weights, in the order of the classes",
            fix=f"give them all, or loss.{name}=null",
        )
    return class_weights.to(logits.dtype)


def pixel_weights(target: Tensor, class_weights: Tensor | None) -> Tensor:
    """What each pixel counts in a mean: the weight of its class (1 without weights), 0 where ignored.

    Args:
        target: class indices with `IGNORE`, of any shape.
        class_weights: (K,) or None.

    Returns:
        The weights, shaped like `target`; bool without class weights.
    """
    labelled = target != IGNORE
    if class_weights is None:
        return labelled
    return class_weights[target.where(labelled, 0)] * labelled


def mean_over(total: Tensor, weight: Tensor) -> Tensor:
    """The mean `total / weight`, and 0 instead of NaN where nothing has any weight."""
    return total / torch.where(weight > 0, weight, 1)


def mean_over_classes(
    losses: Tensor, present: Tensor, class_weights: Tensor | None, present_only: bool
) -> Tensor:
    """The mean (G,) over the classes of each picture, to which a class that is not present adds 0.

    Args:
        losses: (G, K), finite also where a class is not present.
        present: bool (G, K): the class has a labelled pixel in the picture.
        class_weights: (K,) or None.
        present_only: divide by the weight of the classes that are present, instead of that of all.
    """
    weights = torch.ones_like(losses[0]) if class_weights is None else class_weights
    counted = weights * present
    divisor = counted.sum(1) if present_only else weights.sum()
    return mean_over((counted * losses).sum(1), divisor)


def mean_over_pictures(losses: Tensor, present: Tensor) -> Tensor:
    """The mean of losses (G,) over the pictures with any class present (G, K); the others' losses are 0."""
    return mean_over(losses.sum(), present.any(1).sum())
