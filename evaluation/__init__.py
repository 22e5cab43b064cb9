"""Judges of a representation, over a whole data set."""

from .segmentation import ConfusionMatrix, SegmentationMetrics, segment

__all__ = ["ConfusionMatrix", "SegmentationMetrics", "segment"]
