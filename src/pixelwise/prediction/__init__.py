"""Prediction: writes a map or a table row for each input image."""

from pixelwise.prediction.maps import MaskWriter
from pixelwise.prediction.tables import ProbabilityWriter, TagWriter

__all__ = ["MaskWriter", "ProbabilityWriter", "TagWriter"]
