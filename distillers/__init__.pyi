from . import functional
from .activation_boundary import Connectors
from .correlation import Embeddings
from .factor import Paraphraser, Translator
from .fitnet import FitNetRegressor
from .methods import (
    JOINT,
    METHODS,
    build_terms,
    check_settings,
    known_methods,
    parse_method,
    settings_of,
)
from .projector import StudentProjector
from .review import Fusion, Review
from .settings import SETTINGS, check_request, parse_settings, without_effect
from .simkd import SimKDProjector
from .spec import BatchMeta, FeatureSpec
from .standardize import Standardize
from .term import MemoryLoss, PretrainStage, SelectOutputs, StatelessLoss, Term
from .vid import VID
from .wcord import LipschitzHeads

__all__ = [
    "JOINT",
    "METHODS",
    "SETTINGS",
    "VID",
    "BatchMeta",
    "Connectors",
    "Embeddings",
    "FeatureSpec",
    "FitNetRegressor",
    "Fusion",
    "LipschitzHeads",
    "MemoryLoss",
    "Paraphraser",
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
    "check_request",
    "check_settings",
    "functional",
    "known_methods",
    "parse_method",
    "parse_settings",
    "settings_of",
    "without_effect",
]
