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
from pixelwise.inference.views import D4, Flips, Scales, Symmetries, View, seen_through
from pixelwise.tiling import Tiling

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
    "seen_through",
]
