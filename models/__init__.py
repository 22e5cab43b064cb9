"""Networks that return `Outputs`, adapters that make any module one, and weights from files."""

from .adapters import Tapped, tap
from .checkpoint import LoadReport, load_state, load_weights, read_weights, save_weights
from .classifiers import create
from .depth_cnn import DepthCNN
from .frozen import Frozen
from .measure import Dimensions, measure
from .normalized import Normalized
from .outputs import Outputs
from .repdistiller import load_repdistiller
from .segmentation import PyramidSegmenter, SegmentationHead, Segmenter

__all__ = [
    "DepthCNN",
    "Dimensions",
    "Frozen",
    "LoadReport",
    "Normalized",
    "Outputs",
    "PyramidSegmenter",
    "SegmentationHead",
    "Segmenter",
    "Tapped",
    "create",
    "load_repdistiller",
    "load_state",
    "load_weights",
    "measure",
    "read_weights",
    "save_weights",
    "tap",
]
