"""The transfer objectives as pure functions; each stands in the file of its method.

Each returns a scalar, fp32 or wider: they compute with autocast off. No gradient is stopped inside: hand in a
teacher's tensors without a graph.
"""

from .activation_boundary import activation_boundary as activation_boundary
from .aekd import aekd as aekd
from .aekd import min_norm_weights as min_norm_weights
from .angle import angle as angle
from .angle import angles as angles
from .angle import angular_dispersion as angular_dispersion
from .attention import attention as attention
from .attention import attention_map as attention_map
from .ca_mkd import ca_hints as ca_hints
from .ca_mkd import ca_kd as ca_kd
from .ca_mkd import confidence as confidence
from .correlation import correlation as correlation
from .cosine import cosine as cosine
from .dist import dist as dist
from .dkd import dkd as dkd
from .dropping import keep_teachers as keep_teachers
from .dropping import mean_of_kept as mean_of_kept
from .ensemble import ensemble_kd as ensemble_kd
from .ensemble import soft_targets as soft_targets
from .factor import factor as factor
from .fitnet import fitnet as fitnet
from .fsp import fsp as fsp
from .itrd import itrd as itrd
from .kd import kd as kd
from .kd import pixel_kd as pixel_kd
from .kd import standardize_logits as standardize_logits
from .mlkd import mlkd as mlkd
from .nst import nst as nst
from .pkt import pkt as pkt
from .review import hcl as hcl
from .rkd import rkd as rkd
from .similarity import similarity as similarity
from .srd import srd as srd
from .vid import vid as vid
from .wcord import sinkhorn as sinkhorn
from .wcord import wcord as wcord
from .wttm import wttm as wttm
