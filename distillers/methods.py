"""The methods by name: what a command line offers, and the terms it asks for."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias, get_args

import yaml

from .activation_boundary import make_ab
from .attention import make_at
from .correlation import make_cc
from .crd import make_crd
from .dist import make_dist
from .dkd import make_dkd
from .factor import make_ft
from .fitnet import make_fitnet
from .fsp import make_fsp
from .kd import make_kd
from .nst import make_nst
from .pkt import make_pkt
from .review import make_reviewkd
from .rkd import make_rkd
from .similarity import make_sp
from .simkd import make_simkd
from .term import Pair, Term
from .vid import make_vid

__all__ = ["METHODS", "build_terms", "check_settings", "parse_method", "parse_settings", "settings_of"]

Methods: TypeAlias = Mapping[str, Callable[..., Term]]

METHODS: Methods = {
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
    "dkd": make_dkd,
    "dist": make_dist,
    "simkd": make_simkd,
    "reviewkd": make_reviewkd,
}
"""A method's name and its maker: `make(pair, *, weight=…, …) -> Term`, its settings keyword-only."""


def parse_method(method: str, known: Collection[str] = METHODS.keys()) -> dict[str, float]:
    """`crd+0.5*kd` -> {"crd": 1.0, "kd": 0.5}; `none` -> {}.

    Args:
        method: names joined by +, each with a factor before a * where its weight is not to be the published.
        known: the names there are.

    Raises:
        ValueError: for an unknown name (the nearest are suggested), one named twice, or a factor that is not
            a positive number.
    """
    if method == "none":
        return {}
    factors: dict[str, float] = {}
    for part in method.split("+"):
        factor, star, name = part.rpartition("*")
        if name not in known:
            raise ValueError(f"unknown method {name!r} in {method!r}: {_nearest(name, ['none', *known])}")
        if name in factors:
            raise ValueError(f"{name!r} stands twice in {method!r}")
        try:
            factors[name] = float(factor) if star else 1.0
        except ValueError:
            raise ValueError(f"the factor {factor!r} in {method!r} is not a number") from None
        if not (math.isfinite(factors[name]) and factors[name] > 0):
            raise ValueError(f"the factor of {name!r} in {method!r} must be positive, got {factor}")
    return factors


def settings_of(maker: Callable[..., Term]) -> dict[str, inspect.Parameter]:
    """The settings of a method: each with its name, its type (`annotation`) and its published `default`."""
    parameters = inspect.signature(maker, eval_str=True).parameters
    return {name: p for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}


def build_terms(
    method: str,
    pair: Pair | Sequence[Pair],
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    methods: Methods = METHODS,
) -> dict[str, Term]:
    """The terms of a method by name, with the weights that they have together.

    A term alone keeps its published weight and that of the cross-entropy; in a sum it has its weight in sums,
    and the cross-entropy counts whole.

    Args:
        method: as for `parse_method`.
        pair: what the terms are for; as many as the makers of `methods` take.
        settings: of the methods by name, for those that are not to be as published. Those of methods that
            are not asked for are checked and not used.
        methods: the makers by name.

    Raises:
        ValueError: for an unknown method or setting (the nearest are suggested), a value that a setting
            cannot have, or networks that a method cannot compare.
    """
    factors = parse_method(method, methods.keys())
    settings = settings or {}
    check_settings(settings, methods)
    terms = {}
    for name, factor in factors.items():
        term = methods[name](pair, **settings.get(name, {}))
        weight, task_weight = term.weight, term.task_weight
        if len(factors) > 1:
            weight, task_weight = weight if term.weight_in_sum is None else term.weight_in_sum, 1.0
        terms[name] = replace(term, weight=factor * weight, weight_in_sum=None, task_weight=task_weight)
    return terms


def parse_settings(settings: Iterable[str]) -> dict[str, dict[str, Any]]:
    """`kd.temperature=2` -> {"kd": {"temperature": 2}}; a value is read as YAML does, `none` as nothing.

    Raises:
        ValueError: for another form.
    """
    found: dict[str, dict[str, Any]] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        method, dot, field = name.partition(".")
        if not (equals and dot and method and field and value):
            raise ValueError(f"a setting is METHOD.NAME=VALUE, such as kd.temperature=2; got {setting!r}")
        found.setdefault(method, {})[field] = None if value == "none" else yaml.safe_load(value)
    return found


def check_settings(settings: Mapping[str, Mapping[str, Any]], methods: Methods = METHODS) -> None:
    """Raise `ValueError` for an unknown method or setting (the nearest are suggested), or a value of a type
    that the setting cannot have."""
    for name, values in settings.items():
        if name not in methods:
            raise ValueError(f"settings for an unknown method {name!r}: {_nearest(name, methods)}")
        _check_values(name, methods[name], values)


def _check_values(method: str, maker: Callable[..., Term], values: Mapping[str, Any]) -> None:
    settings = settings_of(maker)
    for name, value in values.items():
        if name not in settings:
            raise ValueError(f"{method} has no setting {name!r}: {_nearest(name, settings)}")
        annotation = settings[name].annotation
        types = get_args(annotation) or (annotation,)
        if type(value) not in types and not (type(value) is int and float in types):
            wanted = " or ".join("none" if t is type(None) else t.__name__ for t in types)
            raise ValueError(f"{method}.{name} must be {wanted}, got {value!r}")


def _nearest(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=2)
    return f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
