"""Encoder → decoder → head: the one composition behind every task."""

from pixelwise.models.composition import Composition
from pixelwise.models.encoder import Encoder
from pixelwise.models.heads import ClassifierHead, PixelHead
from pixelwise.models.normalize import Normalize

__all__ = ["ClassifierHead", "Composition", "Encoder", "Normalize", "PixelHead"]
