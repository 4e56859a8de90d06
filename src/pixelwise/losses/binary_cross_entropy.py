"""Binary cross-entropy of several labels per image: each class is present or absent, independently."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelwise.checks import checked
from pixelwise.errors import UserError
from pixelwise.kinds import ClassWeights
from pixelwise.losses.reduction import full_precision, weights_for, weights_tensor
from pixelwise.losses.sums import MeanLoss
from pixelwise.types import IGNORE


@checked
class BinaryCrossEntropy(MeanLoss):
    """Mean over samples and classes of -log p for present classes and -log(1 - p) for absent ones.

    p is the sigmoid of the logit of a class. The target has the shape of the logits: 1 for a present class, 0
    for an absent one, a number between them for a soft target, `IGNORE` where it is unknown. The task
    `tagging` uses this loss.

    Args:
        class_weights: one weight for each class, for a weighted mean; None gives all classes the same weight.
        positive_weights: for each class, the weight of samples that have it, such as
            (samples without) / (samples with); samples without it have the weight 1. None is 1.
    """

    soft_targets = True
    positive_weights: Tensor | None

    def __init__(
        self,
        class_weights: ClassWeights | None = None,
        positive_weights: ClassWeights | None = None,
    ) -> None:
        super().__init__(class_weights)
        self.register_buffer("positive_weights", weights_tensor(positive_weights), persistent=False)

    def sums(self, logits: Tensor, target: Tensor) -> Tensor:
        """Total and weight (2,) of (B, K[, H, W]) logits and a target of the same shape, of any number type.

        Raises:
            UserError: the target does not have the shape of the logits.
        """
        if target.shape != logits.shape:
            raise UserError(
                "loss: binary cross-entropy needs a 0 or 1 for every class, as in task=tagging",
                found=f"a target {tuple(target.shape)} for logits {tuple(logits.shape)}",
                expected="both of the same shape",
                fix="another loss, such as loss=cross_entropy, if each image or pixel has one label",
            )
        logits = full_precision(logits)
        per_class = (-1, *[1] * (logits.ndim - 2))
        labelled = target != IGNORE
        weights = labelled.to(logits.dtype)
        if (by_class := weights_for(logits, self.class_weights)) is not None:
            weights = weights * by_class.view(per_class)
        positive = weights_for(logits, self.positive_weights, "positive_weights")
        total = F.binary_cross_entropy_with_logits(
            logits,
            target.where(labelled, 0).to(logits.dtype),
            weights,
            pos_weight=None if positive is None else positive.view(per_class),
            reduction="sum",
        )
        return torch.stack([total, weights.sum()])
