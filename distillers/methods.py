"""The methods by name: what a command line offers, and the terms it asks for."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias, get_args

from ..common import UserError, nearest
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
from .ensemble import for_each_teacher, make_kd_each, make_kd_together
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
from .settings import SETTINGS, Setting, check_values, read_method
from .similarity import make_sp
from .simkd import make_simkd
from .spec import FeatureSpec
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
"""A method's name and its maker for one teacher: `make(spec, *, weight=…, …) -> Term`, its settings
keyword-only. Several teachers have a term each."""

JOINT: dict[str, Maker] = {
    "kd-mean": partial(make_kd_together, target="mean"),
    "kd-logits": partial(make_kd_together, target="logits"),
    "kd-weighted": partial(make_kd_together, target="weighted"),
    "ca-mkd": make_ca_mkd,
    "aekd": make_aekd,
    "aekd-hint": make_aekd_hint,
}
"""Methods that put all teachers together: `make(specs, *, weight=…, …) -> Term`. `kd` of several teachers is
`kd-mean`."""


def known_methods() -> dict[str, Maker]:
    """All makers by name."""
    return {**METHODS, **JOINT}


def parse_method(method: str) -> dict[str, float]:
    """`crd+0.5*kd` -> {"crd": 1.0, "kd": 0.5}; `none` -> {}.

    Args:
        method: names joined by +, each with a factor before a * if its weight is not to be the published.

    Raises:
        ValueError: an unknown name (the nearest are suggested), one named twice, or a factor that is not a
            positive number.
    """
    return read_method(method, known_methods())


def settings_of(maker: Maker) -> dict[str, inspect.Parameter]:
    """The settings of a method: each with its name, its type (`annotation`) and its published `default`."""
    fixed = maker.keywords if isinstance(maker, partial) else {}
    parameters = inspect.signature(maker, eval_str=True).parameters
    return {name: p for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY and name not in fixed}


def build_terms(
    method: str,
    specs: Sequence[FeatureSpec],
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    reduction: str = "sum",
    share_student: bool = False,
    drop_teachers: float = 0.0,
) -> dict[str, Term]:
    """The terms of a method by name, with the weights that they have together.

    A term alone keeps its published weight and that of the cross-entropy; in a sum it has its weight in sums,
    and the cross-entropy counts whole. The projectors take the student's `Outputs` and a tuple of the
    teachers', and their `reads` is a tuple, one for each teacher.

    Args:
        method: as for `parse_method`.
        specs: one for each teacher.
        settings: of the methods by name, for those that are not to be as published. Those of methods that
            are not asked for are checked and not used.
        reduction: "sum" of the teachers' terms, as in Tian et al., 2020, or their "mean".
        share_student: one head and one memory of the student for all teachers of `crd`, not one for each.
        drop_teachers: probability that a teacher other than the one that it matches worst is left out of a
            sample's loss (Sariyildiz et al., 2024); out of the batch's, if the method compares samples or has
            a memory.

    Raises:
        ValueError: an unknown method or setting (the nearest are suggested), a value that a setting cannot
            have, networks that a method cannot compare, several teachers for one that knows one alone, or
            teachers to drop from one that weighs them itself.
    """
    if not 0 <= drop_teachers <= 1:
        raise UserError(f"drop_teachers must be in [0, 1], got {drop_teachers}")
    if reduction not in ("sum", "mean"):
        raise UserError(f"reduction must be sum or mean, got {reduction!r}")
    factors = parse_method(method)
    settings = settings or {}
    check_settings(settings)
    terms = {}
    for name, factor in factors.items():
        values = settings.get(name, {})
        joint = "kd-mean" if name == "kd" and len(specs) > 1 else name
        drop = drop_teachers if len(specs) > 1 else 0.0
        if drop and joint == "kd-mean":
            term = make_kd_each(specs, drop=drop, **values)
        elif drop and joint in JOINT:
            raise UserError(
                f"{name} puts all teachers together, and none can be dropped from it: drop_teachers is for "
                "kd-mean and for methods with a term for each teacher"
            )
        elif joint in JOINT:
            term = JOINT[joint](specs, **values)
        else:
            each = [METHODS[name](spec, **values) for spec in specs]
            term = for_each_teacher(name, each, mean=reduction == "mean", share=share_student, drop=drop)
        weight, task_weight = term.weight, term.task_weight
        if len(factors) > 1:
            weight, task_weight = weight if term.weight_in_sum is None else term.weight_in_sum, 1.0
        terms[name] = replace(term, weight=factor * weight, weight_in_sum=None, task_weight=task_weight)
    return terms


def check_settings(settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise `ValueError` for an unknown method or setting (the nearest are suggested), or a value of a type
    that the setting cannot have."""
    known = known_methods()
    for name, values in settings.items():
        if name not in known:
            raise UserError(f"settings for an unknown method {name!r}: {nearest(name, known)}")
        check_values(name, values, SETTINGS[name] if name in SETTINGS else _by_signature(known[name]))


def _by_signature(maker: Maker) -> dict[str, Setting]:
    """What the settings of a maker of one's own may be: its annotations."""
    found = {}
    for name, parameter in settings_of(maker).items():
        kinds = get_args(parameter.annotation) or (parameter.annotation,)
        kind = next(kind for kind in kinds if kind is not type(None))
        found[name] = Setting(kind, optional=type(None) in kinds)
    return found
