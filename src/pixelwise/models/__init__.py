"""Encoder → decoder → head: one composition for classification and segmentation."""

from pixelwise.models.auxiliary import AuxiliaryHead, AuxiliaryHeads, InnerMaps
from pixelwise.models.classifier_head import ClassifierHead
from pixelwise.models.composition import Composition
from pixelwise.models.encoder import Encoder
from pixelwise.models.normalize import Normalize
from pixelwise.models.pixel_head import PixelHead

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
