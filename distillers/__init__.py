"""Transfer objectives: pure functions, modules where they have weights, both together as terms."""

from .activation_boundary import Connectors
from .correlation import Embeddings
from .crd import share_student_side
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
from .methods import METHODS, build_terms, check_settings, parse_method, parse_settings, settings_of
from .regressor import FitNetRegressor
from .review import Fusion, Review
from .simkd import Reused, SimKDProjector
from .term import Context, Contrast, Function, Initialize, Pair, Read, Term
from .vid import VID

__all__ = [
    "METHODS",
    "VID",
    "Connectors",
    "Context",
    "Contrast",
    "Embeddings",
    "FitNetRegressor",
    "Function",
    "Fusion",
    "Initialize",
    "Pair",
    "Paraphraser",
    "Read",
    "Reused",
    "Review",
    "SimKDProjector",
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
    "factor",
    "fitnet",
    "fsp",
    "hcl",
    "kd",
    "nst",
    "parse_method",
    "parse_settings",
    "pixel_kd",
    "pkt",
    "rkd",
    "settings_of",
    "share_student_side",
    "similarity",
    "standardize_logits",
    "vid",
]
