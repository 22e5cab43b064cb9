from .classifiers import create
from .depth_cnn import DepthCNN
from .feature_extractor import FeatureExtractor
from .frozen import Frozen, evaluating, freeze
from .measure import Dimensions, measure
from .normalized import Normalized
from .outputs import Outputs, from_parts, take_parts
from .repdistiller import load_repdistiller
from .segmentation import PyramidSegmenter, SegmentationHead, Segmenter
from .weights import LoadReport, load_state, load_weights, read_weights, save_weights

__all__ = [
    "DepthCNN",
    "Dimensions",
    "FeatureExtractor",
    "Frozen",
    "LoadReport",
    "Normalized",
    "Outputs",
    "PyramidSegmenter",
    "SegmentationHead",
    "Segmenter",
    "create",
    "evaluating",
    "freeze",
    "from_parts",
    "load_repdistiller",
    "load_state",
    "load_weights",
    "measure",
    "read_weights",
    "save_weights",
    "take_parts",
]
