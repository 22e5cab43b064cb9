from .alignment import FEWEST_PAIRS, AlignmentEvaluator, align, effective_rank, linear_cka, match_ranks
from .calibration import calibration_error, disagreement, divergence
from .classification import ClassificationMetrics, ClassificationSums, Correlation, evaluate_classifier
from .evaluator import Evaluator, SegmentationEvaluator
from .features import Features, Layer, embed, extract, extract_layers, layers_of
from .knn import knn_accuracy, nearest
from .linear import FoldedProbe, probe_features
from .probe import ProbeResult, probe_logistic, probe_sgd
from .segmentation import ConfusionMatrix, SegmentationMetrics, evaluate_segmenter
from .tsne import tsne

__all__ = [
    "FEWEST_PAIRS",
    "AlignmentEvaluator",
    "ClassificationMetrics",
    "ClassificationSums",
    "ConfusionMatrix",
    "Correlation",
    "Evaluator",
    "Features",
    "FoldedProbe",
    "Layer",
    "ProbeResult",
    "SegmentationEvaluator",
    "SegmentationMetrics",
    "align",
    "calibration_error",
    "disagreement",
    "divergence",
    "effective_rank",
    "embed",
    "evaluate_classifier",
    "evaluate_segmenter",
    "extract",
    "extract_layers",
    "knn_accuracy",
    "layers_of",
    "linear_cka",
    "match_ranks",
    "nearest",
    "probe_features",
    "probe_logistic",
    "probe_sgd",
    "tsne",
]
