"""The methods by name. `METHODS["mine"] = make_mine` adds one, for Python and for `--method`."""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from .activation_boundary import make_ab
from .aekd import make_aekd, make_aekd_hint
from .angle import make_angle
from .attention import make_at
from .ca_mkd import make_ca_mkd
from .correlation import make_cc
from .cosine import make_cosine
from .crd import make_crd
from .crd_dense import make_crd_dense
from .crd_local import make_crd_local
from .dist import make_dist
from .dkd import make_dkd
from .ensemble import make_kd_together
from .factor import make_ft
from .fitnet import make_fitnet
from .fsp import make_fsp
from .itrd import make_itrd
from .kd import make_kd
from .mlkd import make_mlkd
from .nst import make_nst
from .pkt import make_pkt
from .review import make_reviewkd
from .rkd import make_rkd
from .similarity import make_sp
from .simkd import make_simkd
from .srd import make_srd
from .term import Term
from .vid import make_vid
from .wcord import make_wcord
from .wttm import make_wttm

Maker: TypeAlias = Callable[..., Term]

METHODS: dict[str, Maker] = {
    "kd": make_kd,
    "fitnet": make_fitnet,
    "at": make_at,
    "sp": make_sp,
    "cc": make_cc,
    "vid": make_vid,
    "rkd": make_rkd,
    "pkt": make_pkt,
    "ab": make_ab,
    "ft": make_ft,
    "fsp": make_fsp,
    "nst": make_nst,
    "crd": make_crd,
    "crd-local": make_crd_local,
    "crd-dense": make_crd_dense,
    "cosine": make_cosine,
    "dkd": make_dkd,
    "dist": make_dist,
    "simkd": make_simkd,
    "reviewkd": make_reviewkd,
    "wttm": make_wttm,
    "itrd": make_itrd,
    "wcord": make_wcord,
    "srd": make_srd,
    "mlkd": make_mlkd,
    "angle": make_angle,
}
"""Makers for one teacher by the method's name: `make(spec, *, weight=…, …) -> Term`. Several teachers have a
term each.

The keyword-only parameters are the method's settings: `--setting NAME.weight=2`. Their annotations say which
values are permitted: `Annotated[float, Gt(0)]`, `Literal["linear", "mlp"]`, `int | None`. A parameter with a
dataclass as its type contributes the fields. `PretrainEpochs` marks the number of pretraining epochs;
`estimated_by` declares the memory of the terms."""

JOINT: dict[str, Maker] = {
    "kd-mean": partial(make_kd_together, target="mean"),
    "kd-logits": partial(make_kd_together, target="logits"),
    "kd-weighted": partial(make_kd_together, target="weighted"),
    "ca-mkd": make_ca_mkd,
    "aekd": make_aekd,
    "aekd-hint": make_aekd_hint,
}
"""Makers of methods that combine all teachers: `make(specs, *, weight=…, …) -> Term`. With several teachers,
`kd` is `kd-mean`."""


def known_methods() -> dict[str, Maker]:
    """Return all makers by name."""
    return {**METHODS, **JOINT}
