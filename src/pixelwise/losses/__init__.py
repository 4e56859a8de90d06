"""Losses: `loss(logits, target) -> scalar`, for pictures and for single labels alike.

`logits` are (B, K, H, W) or (B, K) and may be half precision: every loss computes in float32 at least.
`target` is int64, (B, H, W) or (B,); only `BinaryCrossEntropy`, for several labels at once, needs it in the
shape of the logits. `pixelwise.types.IGNORE` is left out of every numerator and denominator, so a batch with
nothing else gives a loss of exactly 0 and gradients of 0.

A new loss is one `nn.Module` in the file of its family and one YAML in `conf/loss`, which also tests it.
"""

from pixelwise.losses.binary_cross_entropy import BinaryCrossEntropy
from pixelwise.losses.cross_entropy import CrossEntropy
from pixelwise.losses.focal import Focal
from pixelwise.losses.lovasz import Lovasz
from pixelwise.losses.mcc import MCC
from pixelwise.losses.ohem import OHEMCrossEntropy
from pixelwise.losses.region import Dice, GeneralizedDice, Jaccard, OverlapLoss, RegionLoss
from pixelwise.losses.region_statistics import RegionStatistics, region_statistics
from pixelwise.losses.sums import MeanLoss, SummedLoss
from pixelwise.losses.tversky import FocalTversky, Tversky
from pixelwise.losses.weighted_sum import FusedSum, WeightedSum

__all__ = [
    "MCC",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "Dice",
    "Focal",
    "FocalTversky",
    "FusedSum",
    "GeneralizedDice",
    "Jaccard",
    "Lovasz",
    "MeanLoss",
    "OHEMCrossEntropy",
    "OverlapLoss",
    "RegionLoss",
    "RegionStatistics",
    "SummedLoss",
    "Tversky",
    "WeightedSum",
    "region_statistics",
]
