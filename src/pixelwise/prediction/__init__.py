"""Images in, maps and tables out."""

from pixelwise.prediction.maps import MaskWriter
from pixelwise.prediction.tables import ProbabilityWriter, TagWriter

__all__ = ["MaskWriter", "ProbabilityWriter", "TagWriter"]
