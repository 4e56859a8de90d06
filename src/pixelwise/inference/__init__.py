"""Prediction of images of any size: windows, test-time augmentation, GeoTIFF."""

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
from pixelwise.inference.tta import D4, Flips, Scales, Symmetries, View, with_tta

__all__ = [
    "D4",
    "Blender",
    "Block",
    "Flips",
    "Forward",
    "Pixels",
    "Reader",
    "Scales",
    "Symmetries",
    "Tiling",
    "View",
    "bands",
    "blend",
    "labels",
    "labels_and_probabilities",
    "with_tta",
]
