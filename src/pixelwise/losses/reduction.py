"""What losses that average over pixels have in common: precision, class weights and the mean itself."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pixelwise.errors import UserError
from pixelwise.types import IGNORE


def full_precision(logits: Tensor) -> Tensor:
    """The logits in float32, or in float64 where they are that already (as in `gradcheck`)."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def weights_tensor(class_weights: Sequence[float] | None) -> Tensor | None:
    """Class weights as a float32 (K,) tensor, or None for a plain mean.

    Raises:
        UserError: a weight is negative or not finite.
    """
    if class_weights is None:
        return None
    weights = [float(weight) for weight in class_weights]
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights):
        raise UserError("loss.class_weights: cannot weigh a class so", found=weights, expected="numbers >= 0")
    return torch.tensor(weights)


def weights_for(logits: Tensor, class_weights: Tensor | None) -> Tensor | None:
    """The (K,) class weights in the precision of (B, K, ...) logits, one for each of their classes.

    Raises:
        UserError: there are more or fewer weights than classes.
    """
    if class_weights is None:
        return None
    if len(class_weights) != logits.shape[1]:
        raise UserError(
            "loss.class_weights: needs one weight for each class",
            found=f"{len(class_weights)} weights",
            expected=f"{logits.shape[1]} weights, in the order of the classes",
            fix="give them all, or loss.class_weights=null",
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
    """The mean `total / weight` of scalars, and 0 instead of NaN where nothing has any weight."""
    return total / torch.where(weight > 0, weight, 1)
