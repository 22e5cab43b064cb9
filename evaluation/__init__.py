"""Judges of a representation, over a whole data set."""

from .calibration import calibration_error, disagreement, divergence
from .classification import ClassificationMetrics, ClassificationSums, Correlation, classify
from .features import Features, extract
from .judge import Judge
from .knn import knn_accuracy
from .probe import ProbeResult, hold_out, probe_logistic, probe_sgd
from .segmentation import ConfusionMatrix, SegmentationMetrics, segment
from .tsne import tsne

__all__ = [
    "ClassificationMetrics",
    "ClassificationSums",
    "ConfusionMatrix",
    "Correlation",
    "Features",
    "Judge",
    "ProbeResult",
    "SegmentationMetrics",
    "calibration_error",
    "classify",
    "disagreement",
    "divergence",
    "extract",
    "hold_out",
    "knn_accuracy",
    "probe_logistic",
    "probe_sgd",
    "segment",
    "tsne",
]
