"""Scores, accumulated batch by batch."""

from pixelwise.metrics.confusion import ClassificationScores, SegmentationScores
from pixelwise.metrics.mean import Mean
from pixelwise.metrics.multilabel import TaggingScores

__all__ = ["ClassificationScores", "Mean", "SegmentationScores", "TaggingScores"]
