from . import functional
from .activation_boundary import Connectors
from .build import build_terms
from .correlation import Embeddings
from .factor import Paraphraser, Translator
from .fitnet import FitNetRegressor
from .memory import DataSize, MemoryEstimate, estimated_by
from .method import (
    Method,
    MethodPart,
    parse_method,
    parse_methods,
    parse_settings,
    without_effect,
)
from .methods import JOINT, METHODS, known_methods
from .projector import StudentProjector
from .review import Fusion, Review
from .simkd import SimKDProjector
from .spec import BatchMeta, FeatureSpec
from .standardize import Standardize
from .term import MemoryLoss, PretrainEpochs, PretrainStage, SelectOutputs, StatelessLoss, Term
from .vid import VID
from .wcord import LipschitzHeads

__all__ = [
    "JOINT",
    "METHODS",
    "VID",
    "BatchMeta",
    "Connectors",
    "DataSize",
    "Embeddings",
    "FeatureSpec",
    "FitNetRegressor",
    "Fusion",
    "LipschitzHeads",
    "MemoryEstimate",
    "MemoryLoss",
    "Method",
    "MethodPart",
    "Paraphraser",
    "PretrainEpochs",
    "PretrainStage",
    "Review",
    "SelectOutputs",
    "SimKDProjector",
    "Standardize",
    "StatelessLoss",
    "StudentProjector",
    "Term",
    "Translator",
    "build_terms",
    "estimated_by",
    "functional",
    "known_methods",
    "parse_method",
    "parse_methods",
    "parse_settings",
    "without_effect",
]
