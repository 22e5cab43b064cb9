"""Judges of a representation, over a whole data set."""

from .calibration import calibration_error, disagreement, divergence
from .classification import ClassificationMetrics, ClassificationSums, Correlation, classify
from .features import Features, Layer, extract, extract_layers, layers_of
from .finetune import Classified, attach_classifier, finetune
from .judge import Evaluator
from .knn import knn_accuracy, nearest
from .linear import FoldedProbe, linear_probe, probe_features
from .probe import ProbeResult, hold_out, probe_logistic, probe_sgd
from .segmentation import ConfusionMatrix, SegmentationMetrics, segment
from .tsne import tsne

__all__ = [
    "ClassificationMetrics",
    "ClassificationSums",
    "Classified",
    "ConfusionMatrix",
    "Correlation",
    "Evaluator",
    "Features",
    "FoldedProbe",
    "Layer",
    "ProbeResult",
    "SegmentationMetrics",
    "attach_classifier",
    "calibration_error",
    "classify",
    "disagreement",
    "divergence",
    "extract",
    "extract_layers",
    "finetune",
    "hold_out",
    "knn_accuracy",
    "layers_of",
    "linear_probe",
    "nearest",
    "probe_features",
    "probe_logistic",
    "probe_sgd",
    "segment",
    "tsne",
]
