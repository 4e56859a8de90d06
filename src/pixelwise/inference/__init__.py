"""Prediction of images of any size: windows, test-time augmentation, GeoTIFF."""

from pixelwise.inference.tiling import (
    Block,
    Forward,
    Pixels,
    Reader,
    Tiling,
    bands,
    blend,
    labels,
    labels_and_probabilities,
)
from pixelwise.inference.views import D4, Flips, Scales, Symmetries, View, seen_through

__all__ = [
    "D4",
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
