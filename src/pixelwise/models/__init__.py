"""Encoder → decoder → head: one composition for classification and segmentation."""

from pixelwise.models.auxiliary import AuxiliaryHead, AuxiliaryHeads, InnerMaps
from pixelwise.models.composition import Composition
from pixelwise.models.encoder import Encoder
from pixelwise.models.heads import ClassifierHead, PixelHead
from pixelwise.models.normalize import Normalize

__all__ = [
    "AuxiliaryHead",
    "AuxiliaryHeads",
    "ClassifierHead",
    "Composition",
    "Encoder",
    "InnerMaps",
    "Normalize",
    "PixelHead",
]
