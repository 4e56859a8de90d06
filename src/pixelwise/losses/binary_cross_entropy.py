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
from pixelwise.types import IGNORE, ignored_label


@checked
class BinaryCrossEntropy(MeanLoss):
    """Mean over samples and classes of -log p for present classes and -log(1 - p) for absent ones.

    p is the sigmoid of the logit of a class. The target has the shape of the logits: 1 for a present class, 0
    for an absent one, a number between them for a soft target, `IGNORE` where it is unknown. The task
    `tagging` uses this loss. With one label for each image or pixel, its class is present and all others are
    absent (Wightman et al. 2021, "ResNet strikes back", arXiv:2110.00476).

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
        """Total and weight (2,) of (B, K[, H, W]) logits and a target, of any number type.

        Args:
            logits: (B, K[, H, W]).
            target: of the same shape, or class indices (B[, H, W]) with the ignored label.

        Raises:
            UserError: the target has another shape, or there are class weights for one label.
        """
        if target.ndim == logits.ndim - 1:
            if self.class_weights is not None:  # the weight of a batch would depend on the kind of its labels
                raise UserError(
                    "loss.class_weights: binary cross-entropy takes them for several labels per image only",
                    fix="loss.class_weights=null; loss.positive_weights raises the weight of rare classes",
                )
            target = one_against_all(target, logits.shape[1])
        if target.shape != logits.shape:
            raise UserError(
                "loss: binary cross-entropy needs a 0 or 1 for every class, as in task=tagging",
                found=f"a target {tuple(target.shape)} for logits {tuple(logits.shape)}",
                expected="both of the same shape, or one class index for each image or pixel",
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


def one_against_all(target: Tensor, classes: int) -> Tensor:
    """Class indices (B[, H, W]) as 1 for the class and 0 for all others (B, K[, H, W]), with `IGNORE`."""
    indices = torch.arange(classes, device=target.device).view(-1, *[1] * (target.ndim - 1))
    labels = target.long().unsqueeze(1)
    return (labels == indices).long().where(labels != ignored_label(classes), IGNORE)
