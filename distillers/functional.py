"""The transfer objectives as pure functions; each stands in the file of its method.

Each returns a scalar, fp32 or wider: they compute with autocast off. No gradient is stopped inside: hand in a
teacher's tensors without a graph.
"""

from .activation_boundary import activation_boundary
from .attention import attention, attention_map
from .correlation import correlation
from .dist import dist
from .dkd import dkd
from .factor import factor
from .fitnet import fitnet
from .fsp import fsp
from .kd import kd, pixel_kd, standardize_logits
from .nst import nst
from .pkt import pkt
from .review import hcl
from .rkd import rkd
from .similarity import similarity
from .vid import vid

__all__ = [
    "activation_boundary",
    "attention",
    "attention_map",
    "correlation",
    "dist",
    "dkd",
    "factor",
    "fitnet",
    "fsp",
    "hcl",
    "kd",
    "nst",
    "pixel_kd",
    "pkt",
    "rkd",
    "similarity",
    "standardize_logits",
    "vid",
]
