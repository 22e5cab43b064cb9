"""What a person may ask for by name: the methods, their settings, and the values these may have. No torch.

A command checks its line here before it waits for torch. The makers (`methods.py`) say what a setting is for
and its published default.
"""

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import yaml

from ..common import UserError, nearest


@dataclass(frozen=True)
class Setting:
    """The values that one setting may have."""

    type: type
    """float (whole numbers, too), int, bool or str."""
    low: float = -math.inf
    """The smallest."""
    high: float = math.inf
    """Below this one."""
    is_open: bool = False
    """Whether `low` itself is refused."""
    choices: tuple[str, ...] = ()
    """Of a str: what it may be. Of a bool: words that it may be instead."""
    optional: bool = False
    """Whether it may be `none`."""

    def check(self, name: str, value: object) -> None:
        """Raise `ValueError` with the name and the value if it may not be."""
        if value is None and self.optional:
            return
        if self.type is bool and value in self.choices:
            return
        kinds = (int, float) if self.type is float else (self.type,)
        if type(value) not in kinds:
            words = self.choices if self.type is bool else ()
            kind = " or ".join((self.type.__name__, *words, *(["none"] if self.optional else [])))
            raise UserError(f"{name} must be {kind}, got {value!r}")
        if self.type is str and self.choices and value not in self.choices:
            raise UserError(f"{name} must be one of {', '.join(self.choices)}, got {value!r}")
        if isinstance(value, int | float):
            above = value > self.low if self.is_open else value >= self.low
            if not (math.isfinite(value) and above and value < self.high):
                raise UserError(f"{name} must be {self.in_words()}, got {value!r}")

    def in_words(self) -> str:
        """`positive`, `at least 1`: what a number may be."""
        if self.high < math.inf:
            return f"in [{self.low:g}, {self.high:g})"
        if self.low == -math.inf:
            return "finite"
        return "positive" if self.is_open else f"at least {self.low:g}"


_WEIGHT = Setting(float, low=0)
_MAY_WEIGH = replace(_WEIGHT, optional=True)
_POSITIVE = Setting(float, low=0, is_open=True)
_COUNT = Setting(int, low=1)
_FROM_0 = Setting(int, low=0)
_NUMBER, _WHOLE, _SWITCH = Setting(float), Setting(int), Setting(bool)
_STANDARDIZE = Setting(bool, choices=("phi-s",))
_OBJECTIVE = Setting(str, choices=("nce", "infonce", "relational"))
_NEGATIVES = (
    "uniform",
    "other_class",
    "other_group",
    "shared",
    "shared_other_class",
    "shared_other_group",
    "all",
    "batch",
    "queue",
)

_KD = {"weight": _MAY_WEIGH, "temperature": replace(_POSITIVE, optional=True), "standardize": _SWITCH}

SETTINGS: dict[str, dict[str, Setting]] = {
    "kd": _KD,
    "fitnet": {"weight": _WEIGHT, "hint": _WHOLE, "hypercolumn": _SWITCH, "standardize": _STANDARDIZE},
    "at": {"weight": _WEIGHT, "pairing": Setting(str, choices=("depth", "resolution"))},
    "sp": {"weight": _WEIGHT},
    "cc": {"weight": _WEIGHT, "embed_dim": _COUNT},
    "vid": {"weight": _WEIGHT, "initial_variance": _POSITIVE, "standardize": _STANDARDIZE},
    "rkd": {"weight": _WEIGHT, "distance_weight": _NUMBER, "angle_weight": _NUMBER},
    "pkt": {"weight": _WEIGHT},
    "ab": {"weight": _WEIGHT, "margin": _NUMBER, "epochs": _FROM_0},
    "ft": {"weight": _WEIGHT, "fraction": _POSITIVE, "epochs": _FROM_0, "paraphraser_lr": _POSITIVE},
    "fsp": {"weight": _WEIGHT, "epochs": _FROM_0},
    "nst": {"weight": _WEIGHT},
    "crd": {
        "weight": _WEIGHT,
        "embed_dim": _COUNT,
        "num_negatives": replace(_COUNT, optional=True),
        "temperature": _POSITIVE,
        "momentum": Setting(float, low=0, high=1),
        "memory_dtype": Setting(str, choices=("float32", "bfloat16")),
        "bank": Setting(str, choices=("auto", "memory", "host", "mapped", "sharded")),
        "objective": replace(_OBJECTIVE, optional=True),
        "teacher_temperature": _POSITIVE,
        "negatives": Setting(str, choices=_NEGATIVES, optional=True),
        "head": Setting(str, choices=("linear", "mlp")),
        "standardize": _STANDARDIZE,
    },
    "crd-local": {
        "weight": _WEIGHT,
        "embed_dim": _COUNT,
        "temperature": _POSITIVE,
        "objective": _OBJECTIVE,
        "teacher_temperature": _POSITIVE,
        "queue_size": _FROM_0,
        "hypercolumn": _SWITCH,
        "standardize": _STANDARDIZE,
    },
    "crd-dense": {
        "weight": _WEIGHT,
        "embed_dim": _COUNT,
        "temperature": _POSITIVE,
        "objective": _OBJECTIVE,
        "teacher_temperature": _POSITIVE,
        "queue_size": _FROM_0,
        "num_positions": _COUNT,
        "hypercolumn": _SWITCH,
        "standardize": _STANDARDIZE,
    },
    "cosine": {
        "weight": _WEIGHT,
        "hint": replace(_WHOLE, optional=True),
        "hypercolumn": _SWITCH,
        "standardize": _STANDARDIZE,
    },
    "dkd": {**_KD, "alpha": _NUMBER, "beta": _NUMBER, "warmup_epochs": _WEIGHT},
    "dist": {"weight": _WEIGHT, "beta": _NUMBER, "gamma": _NUMBER, "temperature": _POSITIVE},
    "simkd": {"weight": _WEIGHT, "reduction": _COUNT},
    "reviewkd": {
        "weight": _WEIGHT,
        "warmup_epochs": _WEIGHT,
        "max_width": _COUNT,
        "standardize": _STANDARDIZE,
    },
    "wttm": {"weight": _WEIGHT, "exponent": _POSITIVE},
    "itrd": {
        "weight": _WEIGHT,
        "alpha": _POSITIVE,
        "correlation_weight": _NUMBER,
        "mutual_weight": _NUMBER,
    },
    "wcord": {
        "weight": _WEIGHT,
        "embed_dim": _COUNT,
        "global_weight": _NUMBER,
        "local_weight": _NUMBER,
        "epsilon": _POSITIVE,
    },
    "srd": {"weight": _WEIGHT, "exponent": Setting(float, low=1)},
    "mlkd": {
        "weight": _WEIGHT,
        "instance_weight": _NUMBER,
        "batch_weight": _NUMBER,
        "class_weight": _NUMBER,
    },
    "angle": {"weight": _WEIGHT},
    "kd-mean": _KD,
    "kd-logits": _KD,
    "kd-weighted": _KD,
    "ca-mkd": {"weight": _WEIGHT, "temperature": _POSITIVE, "hint_weight": _WEIGHT},
    "aekd": {"weight": _WEIGHT, "temperature": _POSITIVE, "tolerance": _POSITIVE, "normalize": _SWITCH},
    "aekd-hint": {"weight": _WEIGHT, "hint": _WHOLE, "tolerance": _POSITIVE, "normalize": _SWITCH},
}
"""The settings of every method by name; that both agree with the makers is tested."""

_IDLE: dict[str, tuple[str, tuple[object, ...]]] = {
    "num_negatives": ("negatives", ("batch",)),
    "momentum": ("negatives", ("batch", "queue")),
    "memory_dtype": ("negatives", ("batch", "queue")),
    "teacher_temperature": ("objective", (None, "nce", "infonce")),
}
"""Of the contrasts: a setting, and the values of another one that leave no use for it; None if not given."""

FORMER = {
    "standardise": "standardize",
    "paraphraser_learning_rate": "paraphraser_lr",
    "rate": "fraction",
    "learning_rate": "lr",
}
"""Former names of settings, which go on working with a warning."""


def check_request(methods: Iterable[str], settings: Iterable[str]) -> None:
    """Raise `ValueError` for methods and settings of a command line that cannot be; the nearest are
    suggested."""
    for method in methods:
        read_method(method, SETTINGS)
    for name, values in parse_settings(settings).items():
        if name not in SETTINGS:
            raise UserError(f"settings for an unknown method {name!r}: {nearest(name, SETTINGS)}")
        check_values(name, values, SETTINGS[name])


def read_method(method: str, known: Iterable[str]) -> dict[str, float]:
    """`crd+0.5*kd` -> {"crd": 1.0, "kd": 0.5}; see `parse_method`."""
    if method == "none":
        return {}
    known, factors = list(known), dict[str, float]()
    for part in method.split("+"):
        factor, star, name = part.rpartition("*")
        if name not in known:
            raise UserError(f"unknown method {name!r} in {method!r}: {nearest(name, ['none', *known])}")
        if name in factors:
            raise UserError(f"{name!r} stands twice in {method!r}")
        try:
            factors[name] = float(factor) if star else 1.0
        except ValueError:
            raise UserError(f"the factor {factor!r} in {method!r} is not a number") from None
        if not (math.isfinite(factors[name]) and factors[name] > 0):
            raise UserError(f"the factor of {name!r} in {method!r} must be positive, got {factor}")
    return factors


def parse_settings(settings: Iterable[str]) -> dict[str, dict[str, Any]]:
    """`kd.temperature=2` -> {"kd": {"temperature": 2}}; a value is read as YAML does, `none` as nothing. Of a
    setting that is given twice the last counts.

    Raises:
        ValueError: for another form.
    """
    found: dict[str, dict[str, Any]] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        method, dot, field = name.partition(".")
        if not (equals and dot and method and field and value):
            raise UserError(f"a setting is METHOD.NAME=VALUE, such as kd.temperature=2; got {setting!r}")
        if field in FORMER and method in SETTINGS and field not in SETTINGS[method]:
            warnings.warn(
                f"{method}.{field} is now {method}.{FORMER[field]}", DeprecationWarning, stacklevel=2
            )
            field = FORMER[field]
        found.setdefault(method, {})[field] = _value(value)
    return found


def without_effect(methods: Sequence[str], typed: Iterable[str], settings: Sequence[str]) -> list[str]:
    """What of the settings that somebody typed is not read, and why: the method does not run, or another
    setting leaves no use for it.

    Args:
        methods: as on the command line.
        typed: the settings in question.
        settings: all that are in force.

    Raises:
        ValueError: methods or settings that cannot be.
    """
    check_request(methods, settings)
    running = {name for method in methods for name in read_method(method, SETTINGS)}
    in_force, found = parse_settings(settings), []
    for method, values in parse_settings(typed).items():
        for name in values:
            other, idle = _IDLE.get(name, ("", ()))
            value = in_force[method].get(other)
            if method not in running:
                found.append(f"{method}.{name} has no effect: {method} is none of the methods")
            elif value in idle:
                why = f"is {value}" if value is not None else "is not given"
                found.append(f"{method}.{name} has no effect while {method}.{other} {why}")
    return found


def check_values(method: str, values: Mapping[str, Any], settings: Mapping[str, Setting]) -> None:
    """Raise `ValueError` for a setting that a method has not (the nearest are suggested), or a value that it
    cannot have."""
    for name, value in values.items():
        if name not in settings:
            raise UserError(f"{method} has no setting {name!r}: {nearest(name, settings)}")
        settings[name].check(f"{method}.{name}", value)


def _value(text: str) -> Any:
    value = None if text == "none" else yaml.safe_load(text)
    if isinstance(value, str):
        with suppress(ValueError):  # to YAML, 1e-3 is no number
            return float(value)
    return value
