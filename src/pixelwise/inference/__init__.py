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
from pixelwise.inference.evaluated import Evaluated
from pixelwise.inference.sliding import Sliding, resized, resized_blocks, windows_of
from pixelwise.inference.tiling import Tiling
from pixelwise.inference.tta import D4, TTA, Flips, HorizontalFlip, Scales, Symmetries, tta_name, with_tta

__all__ = [
    "D4",
    "TTA",
    "Blender",
    "Block",
    "Evaluated",
    "Flips",
    "Forward",
    "HorizontalFlip",
    "Pixels",
    "Reader",
    "Scales",
    "Sliding",
    "Symmetries",
    "Tiling",
    "bands",
    "blend",
    "labels",
    "labels_and_probabilities",
    "resized",
    "resized_blocks",
    "tta_name",
    "windows_of",
    "with_tta",
]
