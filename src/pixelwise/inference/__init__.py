"""Prediction of images of any size: overlapping windows and test-time augmentation (TTA)."""

from pixelwise.inference.blending import (
    Blender,
    Block,
    Forward,
    Pixels,
    Reader,
    bands,
    blend,
    labels,
    labels_and_probabilities,
)
from pixelwise.inference.tiling import Tiling
from pixelwise.inference.tta import D4, TTA, Flips, Scales, Symmetries, with_tta

__all__ = [
    "D4",
    "TTA",
    "Blender",
    "Block",
    "Flips",
    "Forward",
    "Pixels",
    "Reader",
    "Scales",
    "Symmetries",
    "Tiling",
    "bands",
    "blend",
    "labels",
    "labels_and_probabilities",
    "with_tta",
]
