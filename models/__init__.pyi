from .catalog import check_network, known_networks
from .chosen_layers import ChosenLayers
from .classifiers import create, has_classifier, open_weights
from .depth_cnn import DepthCNN
from .description import Description, read_description
from .feature_extractor import FeatureExtractor
from .frozen import Frozen, evaluating, freeze
from .heads import (
    ChannelProjection,
    Classifier,
    PyramidSegmenter,
    ReusedClassifier,
    SegmentationHead,
    Segmenter,
    attach_classifier,
)
from .measure import Dimensions, classifier_of, measure
from .normalized import Normalized, bare_state
from .outputs import Outputs, from_parts, take_parts
from .preprocessing import Preprocessing, find_preprocessing, saved_preprocessing
from .repdistiller import load_repdistiller
from .weights import LoadedWeights, LoadReport, load_state, load_weights, read_weights, save_weights

__all__ = [
    "ChannelProjection",
    "ChosenLayers",
    "Classifier",
    "DepthCNN",
    "Description",
    "Dimensions",
    "FeatureExtractor",
    "Frozen",
    "LoadReport",
    "LoadedWeights",
    "Normalized",
    "Outputs",
    "Preprocessing",
    "PyramidSegmenter",
    "ReusedClassifier",
    "SegmentationHead",
    "Segmenter",
    "attach_classifier",
    "bare_state",
    "check_network",
    "classifier_of",
    "create",
    "evaluating",
    "find_preprocessing",
    "freeze",
    "from_parts",
    "has_classifier",
    "known_networks",
    "load_repdistiller",
    "load_state",
    "load_weights",
    "measure",
    "open_weights",
    "read_description",
    "read_weights",
    "save_weights",
    "saved_preprocessing",
    "take_parts",
]
