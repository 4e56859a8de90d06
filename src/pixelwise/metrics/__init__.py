"""Scores that are accumulated batch by batch."""

from pixelwise.metrics.confusion import ClassificationScores, SegmentationScores
from pixelwise.metrics.multilabel import TaggingScores
from pixelwise.metrics.sum import Sum

__all__ = ["ClassificationScores", "SegmentationScores", "Sum", "TaggingScores"]
