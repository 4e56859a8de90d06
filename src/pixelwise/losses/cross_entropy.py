"""Cross-entropy: the average surprise at the true label."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from pixelwise.errors import UserError
from pixelwise.losses.reduction import (
    check_one_label,
    full_precision,
    mean_over,
    pixel_weights,
    weights_for,
    weights_tensor,
)
from pixelwise.losses.region_statistics import RegionStatistics
from pixelwise.types import IGNORE


class CrossEntropy(nn.Module):
    """Mean of -log p_t over the labelled pixels, p_t being the probability of the true class.

    Equal to `F.cross_entropy(ignore_index=255)` with the same options, except that a batch without any
    labelled pixel gives 0 where PyTorch gives NaN.

    Args:
        label_smoothing: share of the label that is spread evenly over all classes (Szegedy et al. 2016,
            "Rethinking the Inception Architecture"); 0 is none.
        class_weights: one weight for each class, for a weighted mean; None weighs all pixels alike.
    """

    class_weights: Tensor | None

    def __init__(self, label_smoothing: float = 0.0, class_weights: Sequence[float] | None = None) -> None:
        super().__init__()
        if not 0 <= label_smoothing <= 1:
            raise UserError("loss.label_smoothing: not a share", found=label_smoothing, expected="0 to 1")
        self.label_smoothing = label_smoothing
        self.register_buffer("class_weights", weights_tensor(class_weights), persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Scalar loss of (B, K[, H, W]) logits and a (B[, H, W]) target."""
        check_one_label(logits, target)
        logits = full_precision(logits)
        weights = weights_for(logits, self.class_weights)
        total = F.cross_entropy(
            logits,
            target,
            weights,
            ignore_index=IGNORE,
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )
        return mean_over(total, pixel_weights(target, weights).sum())

    def of_statistics(self, statistics: RegionStatistics) -> Tensor:
        """The same from what a `FusedSum` has found already; without label smoothing, which needs more."""
        assert not self.label_smoothing
        weights = weights_for(statistics.count, self.class_weights)
        surprise, count = statistics.surprise, statistics.count
        if weights is not None:
            surprise, count = weights * surprise, weights * count
        return mean_over(surprise.sum(), count.sum())
