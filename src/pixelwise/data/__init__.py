"""Data sources, splits, samplers, loaders and the data module."""

from pixelwise.data.datamodule import DataModule
from pixelwise.data.labels import Labels
from pixelwise.data.sources.class_folders import FolderClassification
from pixelwise.data.sources.folder import FolderSegmentation
from pixelwise.data.sources.pets import PetsClassification, PetsSegmentation
from pixelwise.data.sources.potsdam import Potsdam
from pixelwise.data.sources.tiles import Tiles
from pixelwise.data.targets import PresentClasses
from pixelwise.data.tiles.split import CropSampling

__all__ = [
    "CropSampling",
    "DataModule",
    "FolderClassification",
    "FolderSegmentation",
    "Labels",
    "PetsClassification",
    "PetsSegmentation",
    "Potsdam",
    "PresentClasses",
    "Tiles",
]
