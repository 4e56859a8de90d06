"""Data sets that are drawn, so that everything can be tried without a download."""

from pixelwise.drawn.city.potsdam_release import PotsdamSynthetic
from pixelwise.drawn.toy.scenes import ToyClassification, ToySegmentation

__all__ = ["PotsdamSynthetic", "ToyClassification", "ToySegmentation"]
