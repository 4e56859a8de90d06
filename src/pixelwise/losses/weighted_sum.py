"""A weighted sum of losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from pixelwise.checks import checked
from pixelwise.errors import UserError, nearest
from pixelwise.kinds import NonNegative
from pixelwise.losses.cross_entropy import CrossEntropy
from pixelwise.losses.region import RegionLoss
from pixelwise.losses.region_statistics import region_statistics
from pixelwise.losses.sums import finish, sums_of


@checked
class WeightedSum(nn.Module):
    """Sum of named losses times their weights; `terms` returns the parts, so that each can be logged.

    Args:
        parts: the losses by name.
        weights: the weight of each part, by the same names. The default is 1; a part of weight 0 is only
            logged.

    Raises:
        UserError: there is no part, a weight has no part, or a weight is negative.
    """

    def __init__(
        self, parts: Mapping[str, nn.Module], weights: Mapping[str, NonNegative] | None = None
    ) -> None:
        super().__init__()
        if not parts:
            raise UserError("loss.parts: a sum needs at least one loss", found="none")
        self.parts = nn.ModuleDict({str(name): part for name, part in parts.items()})
        self.weights = dict.fromkeys(self.parts, 1.0)
        for name, weight in (weights or {}).items():
            if name not in self.parts:
                raise UserError(
                    f"loss.weights.{name}: no part of the loss has this name",
                    found=name,
                    expected=", ".join(nearest(name, self.parts) or self.parts),
                    fix=f"rename it, or add loss.parts.{name}",
                )
            self.weights[name] = float(weight)

    def terms(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The scalar loss of each part, not weighted, of (B, K[, H, W]) logits and a (B[, H, W]) target."""
        return {name: part(logits, target) for name, part in self.parts.items()}

    def sums(self, logits: Tensor, target: Tensor, each_image: bool = False) -> dict[str, Tensor]:
        """Sums of each part over a batch; see `pixelwise.losses.sums.sums_of`."""
        return {name: sums_of(part, logits, target, each_image) for name, part in self.parts.items()}

    def finish(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The scalar loss of each part, from sums that may span any number of batches."""
        return {name: finish(part, sums[name]) for name, part in self.parts.items()}

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """The scalar to minimise, from the result of `terms`."""
        return torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Scalar loss of (B, K[, H, W]) logits and a (B[, H, W]) target."""
        return self.total(self.terms(logits, target))

    def extra_repr(self) -> str:
        """The weights, for `print(loss)`."""
        return " + ".join(f"{weight:g} * {name}" for name, weight in self.weights.items())


class FusedSum(WeightedSum):
    """A `WeightedSum` of cross-entropy and region losses that share one softmax and one backward pass.

    Values and gradients equal those of a plain `WeightedSum`, at little more than the cost of one part, since
    every part is computed from the same `RegionStatistics`.

    Args:
        parts: `CrossEntropy` without label smoothing and any `RegionLoss`, by name.
        weights: the weight of each part, by the same names. The default is 1; a part of weight 0 is only
            logged.

    Raises:
        UserError: as `WeightedSum`; or a part cannot be computed from region statistics.
    """

    def __init__(
        self, parts: Mapping[str, nn.Module], weights: Mapping[str, NonNegative] | None = None
    ) -> None:
        super().__init__(parts, weights)
        for name, part in self.parts.items():
            smoothed = isinstance(part, CrossEntropy) and part.label_smoothing > 0
            if smoothed or not isinstance(part, CrossEntropy | RegionLoss):
                raise UserError(
                    f"loss.parts.{name}: cannot share the softmax of the other parts",
                    found=part,
                    expected="CrossEntropy with label_smoothing=0, or a region loss such as Dice",
                    fix="loss._target_=pixelwise.losses.WeightedSum computes each part separately",
                )

    def terms(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The scalar loss of each part, not weighted, of (B, K[, H, W]) logits and a (B[, H, W]) target."""
        return self.finish(self.sums(logits, target))

    def sums(self, logits: Tensor, target: Tensor, each_image: bool = False) -> dict[str, Tensor]:
        """Sums of each part over a batch."""
        statistics = region_statistics(logits, target)
        parts = cast(dict[str, CrossEntropy | RegionLoss], self.parts)
        return {name: part.sums_of_statistics(statistics) for name, part in parts.items()}
