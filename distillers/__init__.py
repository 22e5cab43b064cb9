"""Transfer objectives: pure functions, modules where they have weights, both together as terms."""

# Eager: a lazy name would give way to the file of the same name (kd, rkd, vid) once that is loaded.
from . import functional
from .activation_boundary import Connectors
from .correlation import Embeddings
from .ensemble import ensemble_kd, soft_targets
from .factor import Paraphraser, Translator
from .functional import (
    activation_boundary,
    attention,
    attention_map,
    correlation,
    dist,
    dkd,
    factor,
    fitnet,
    fsp,
    hcl,
    kd,
    nst,
    pixel_kd,
    pkt,
    rkd,
    similarity,
    standardize_logits,
    vid,
)
from .methods import (
    JOINT,
    METHODS,
    build_terms,
    check_settings,
    known_methods,
    parse_method,
    parse_settings,
    settings_of,
)
from .regressor import FitNetRegressor
from .review import Fusion, Review
from .simkd import Reused, SimKDProjector
from .spec import BatchMeta, FeatureSpec
from .term import MemoryLoss, PretrainStage, SelectOutputs, StatelessLoss, Term
from .vid import VID

__all__ = [
    "JOINT",
    "METHODS",
    "VID",
    "BatchMeta",
    "Connectors",
    "Embeddings",
    "FeatureSpec",
    "FitNetRegressor",
    "Fusion",
    "MemoryLoss",
    "Paraphraser",
    "PretrainStage",
    "Reused",
    "Review",
    "SelectOutputs",
    "SimKDProjector",
    "StatelessLoss",
    "Term",
    "Translator",
    "activation_boundary",
    "attention",
    "attention_map",
    "build_terms",
    "check_settings",
    "correlation",
    "dist",
    "dkd",
    "ensemble_kd",
    "factor",
    "fitnet",
    "fsp",
    "functional",
    "hcl",
    "kd",
    "known_methods",
    "nst",
    "parse_method",
    "parse_settings",
    "pixel_kd",
    "pkt",
    "rkd",
    "settings_of",
    "similarity",
    "soft_targets",
    "standardize_logits",
    "vid",
]
