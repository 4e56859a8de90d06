"""Losses: `loss(logits, target) -> scalar`, for pictures and for single labels alike.

`logits` are (B, K, H, W) or (B, K) and may be half precision: every loss computes in float32 at least.
`target` is int64, (B, H, W) or (B,). `pixelwise.types.IGNORE` is left out of every numerator and denominator,
so a batch with nothing else gives a loss of exactly 0 and gradients of 0.

A new loss is one `nn.Module` in the file of its family and one YAML in `conf/loss`, which also tests it.
"""

from pixelwise.losses.cross_entropy import CrossEntropy
from pixelwise.losses.focal import Focal
from pixelwise.losses.region import Dice, RegionLoss, region_statistics
from pixelwise.losses.weighted_sum import WeightedSum

__all__ = ["CrossEntropy", "Dice", "Focal", "RegionLoss", "WeightedSum", "region_statistics"]
