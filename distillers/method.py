"""A `--method` with its settings, parsed once: the value that every later function takes."""

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import yaml

from ..common import (
    UnusedIf,
    UserError,
    bind_settings,
    check_settings,
    nearest,
    read_settings,
)
from .memory import DataSize, MemoryEstimate
from .methods import JOINT, Maker, known_methods
from .term import Pretraining

Settings = Mapping[str, Mapping[str, Any]]
"""Values by the name of the method and of the setting."""


@dataclass(frozen=True)
class MethodPart:
    """One term of a method: `0.5*kd` of `crd+0.5*kd`."""

    name: str
    """Name in `METHODS` or `JOINT`."""
    factor: float
    """Factor of the published weight."""
    settings: Mapping[str, Any]
    """Values that replace the published ones."""
    maker: Maker
    """Function that makes the term."""

    @property
    def is_joint(self) -> bool:
        """Whether one term compares the student with all teachers together."""
        return self.name in JOINT

    @property
    def values(self) -> dict[str, Any]:
        """All settings with their values, published or replaced."""
        known = read_settings(self.maker)
        return {name: setting.default for name, setting in known.items()} | dict(self.settings)

    @property
    def pretrain_setting(self) -> str | None:
        """Name of the setting that is the number of pretraining epochs; None for no pretraining."""
        known = read_settings(self.maker)
        return next((name for name, setting in known.items() if setting.marks(Pretraining)), None)

    @property
    def pretrain_epochs(self) -> int | None:
        """Number of pretraining epochs; None for a method without a pretraining."""
        name = self.pretrain_setting
        return None if name is None else int(self.values[name])

    def estimate(self, size: DataSize) -> MemoryEstimate:
        """Return the memory that the term for one teacher needs beside its networks and heads."""
        function = getattr(self.maker, "estimate", None)
        if function is None:
            return MemoryEstimate()
        estimate: MemoryEstimate = function(size, **bind_settings(self.maker, self.values))
        return estimate


@dataclass(frozen=True)
class Method:
    """A method with its settings: the terms that are added to the labels' loss."""

    name: str
    """Text as typed, such as `crd+0.5*kd`; it names the folders of a run."""
    parts: tuple[MethodPart, ...]
    """Terms in the order of the text; none for `none`."""

    @property
    def needs_teachers(self) -> bool:
        """Whether the method compares the student with teachers at all."""
        return bool(self.parts)

    @property
    def pretraining(self) -> dict[str, int]:
        """Epochs of the trainings before the transfer, by the name of their part."""
        epochs = {part.name: part.pretrain_epochs for part in self.parts}
        return {name: number for name, number in epochs.items() if number is not None}


def parse_method(text: str, settings: Settings | None = None) -> Method:
    """Return the method of a text such as `crd+0.5*kd` or `none`.

    Args:
        text: names joined by +, each after a factor and a * if its weight is not the published one.
        settings: of the methods by name. Those of methods that the text does not name are checked and not
            used.

    Raises:
        UserError: an unknown method or setting (with the nearest names), a name that stands twice, a factor
            that is not a positive number, or a value that a setting does not permit.
    """
    known, settings = known_methods(), settings or {}
    for name, values in settings.items():
        if name not in known:
            raise UserError(f"settings for an unknown method {name!r}: {nearest(name, known)}")
        check_settings(values, read_settings(known[name]), owner=name)
    parts = dict[str, MethodPart]()
    for term in [] if text == "none" else text.split("+"):
        factor, star, name = term.rpartition("*")
        if name not in known:
            raise UserError(f"unknown method {name!r} in {text!r}: {nearest(name, ['none', *known])}")
        if name in parts:
            raise UserError(f"{name!r} stands twice in {text!r}")
        number = _positive(factor, name, text) if star else 1.0
        parts[name] = MethodPart(name, number, dict(settings.get(name, {})), known[name])
    return Method(text, tuple(parts.values()))


def parse_methods(texts: Iterable[str], settings: Iterable[str] = ()) -> tuple[Method, ...]:
    """Return the methods of a command line, `--method` and `--setting`; see `parse_method`."""
    values = parse_settings(settings)
    methods = tuple(parse_method(text, values) for text in texts)
    parse_method("none", values)  # settings are checked even without a method
    return methods


def parse_settings(settings: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return `kd.temperature=2` as {"kd": {"temperature": 2}}.

    Values are read as YAML, `none` as None. Of a setting that is given twice the last value counts.

    Raises:
        UserError: for another form.
    """
    parsed: dict[str, dict[str, Any]] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        method, dot, key = name.partition(".")
        if not (equals and dot and method and key and value):
            raise UserError(f"a setting is METHOD.NAME=VALUE, such as kd.temperature=2; got {setting!r}")
        parsed.setdefault(method, {})[key] = _value(value)
    return parsed


def without_effect(methods: Iterable[str], typed: Iterable[str], settings: Sequence[str]) -> list[str]:
    """Return a sentence for each setting that has no effect: its method does not run, or another setting
    leaves no use for it.

    Args:
        methods: as on the command line.
        typed: the settings in question.
        settings: all settings in force.

    Raises:
        UserError: as `parse_methods`.
    """
    running = {part.name for method in parse_methods(methods, settings) for part in method.parts}
    in_force, lines = parse_settings(settings), list[str]()
    for method, values in parse_settings(typed).items():
        known = read_settings(known_methods()[method])
        for name in values:
            if method not in running:
                lines.append(f"{method}.{name} has no effect: {method} is none of the methods")
                continue
            for unused in known[name].marks(UnusedIf):
                value = in_force[method].get(unused.name, known[unused.name].default)
                if value in unused.values:
                    why = f"is {value}" if value is not None else "is not given"
                    lines.append(f"{method}.{name} has no effect while {method}.{unused.name} {why}")
    return lines


def _positive(factor: str, name: str, text: str) -> float:
    try:
        number = float(factor)
    except ValueError:
        raise UserError(f"the factor {factor!r} in {text!r} is not a number") from None
    if not (math.isfinite(number) and number > 0):
        raise UserError(f"the factor of {name!r} in {text!r} must be positive, got {factor}")
    return number


def _value(text: str) -> Any:
    value = None if text == "none" else yaml.safe_load(text)
    if isinstance(value, str):
        with suppress(ValueError):  # to YAML, 1e-3 is no number
            return float(value)
    return value
