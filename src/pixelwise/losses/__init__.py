"""Losses: `loss(logits, target) -> scalar`, for label maps and for single labels.

`logits` are (B, K, H, W) or (B, K) and may be half precision: every loss computes in float32 at least.
`target` is int64, (B, H, W) or (B,). Only `BinaryCrossEntropy`, for several labels per image, takes a target
of the shape of the logits; losses with `soft_targets` also take the floating targets of mixed images
(`pixelwise.losses.soft_targets`). Pixels labelled `pixelwise.types.IGNORE` count in no numerator and no
denominator: a batch in which all pixels are ignored has a loss of exactly 0 and gradients of 0.

A new loss is one `nn.Module` and one YAML in `conf/loss`; the tests enumerate these files.
"""

from pixelwise.losses.binary_cross_entropy import BinaryCrossEntropy
from pixelwise.losses.cross_entropy import CrossEntropy
from pixelwise.losses.focal import Focal
from pixelwise.losses.lovasz import Lovasz
from pixelwise.losses.mcc import MCC
from pixelwise.losses.ohem import OHEMCrossEntropy
from pixelwise.losses.region import Dice, GeneralizedDice, Jaccard, OverlapLoss, RegionLoss
from pixelwise.losses.region_statistics import RegionStatistics, region_statistics
from pixelwise.losses.soft_targets import blend, takes_soft_targets
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
    "blend",
    "region_statistics",
    "takes_soft_targets",
]
