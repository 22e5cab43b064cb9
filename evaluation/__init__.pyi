from .alignment import FEWEST_PAIRS, AlignmentEvaluator, align, effective_rank, linear_cka, match_ranks
from .calibration import calibration_error, disagreement, divergence
from .classification import ClassificationMetrics, ClassificationSums, Correlation, evaluate_classifier
from .evaluator import Evaluator, SegmentationEvaluator
from .features import Features, Layer, embed, extract, extract_layers, layers_of
from .finetune import Classified, attach_classifier, finetune
from .knn import knn_accuracy, nearest
from .linear import FoldedProbe, linear_probe, probe_features
from .probe import ProbeResult, hold_out, probe_logistic, probe_sgd
from .segmentation import ConfusionMatrix, SegmentationMetrics, evaluate_segmenter
from .tsne import tsne

__all__ = [
    "FEWEST_PAIRS",
    "AlignmentEvaluator",
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
    "SegmentationEvaluator",
    "SegmentationMetrics",
    "align",
    "attach_classifier",
    "calibration_error",
    "disagreement",
    "divergence",
    "effective_rank",
    "embed",
    "evaluate_classifier",
    "evaluate_segmenter",
    "extract",
    "extract_layers",
    "finetune",
    "hold_out",
    "knn_accuracy",
    "layers_of",
    "linear_cka",
    "linear_probe",
    "match_ranks",
    "nearest",
    "probe_features",
    "probe_logistic",
    "probe_sgd",
    "tsne",
]
