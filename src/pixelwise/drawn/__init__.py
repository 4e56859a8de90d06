"""Data sets drawn by code, to try everything without a download."""

from pixelwise.drawn.city.potsdam_release import PotsdamSynthetic
from pixelwise.drawn.toy.scenes import ToyClassification, ToySegmentation

__all__ = ["PotsdamSynthetic", "ToyClassification", "ToySegmentation"]
