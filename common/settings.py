"""Settings that are read from annotations: their types, ranges and choices, and the check of a value.

A setting is a keyword-only parameter of a function, or a field of a dataclass, such as
`momentum: Annotated[float, Ge(0), Lt(1)] = 0.5`, `head: Literal["linear", "mlp"] = "linear"` or
`hint: int | None = None`. A keyword-only parameter that is itself a dataclass contributes its fields.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache, partial
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import UserError
from .names import nearest

Marker = TypeVar("Marker")


@dataclass(frozen=True)
class Gt:
    """A number must be greater than `bound`."""

    bound: float


@dataclass(frozen=True)
class Ge:
    """A number must be greater than or equal to `bound`."""

    bound: float


@dataclass(frozen=True)
class Lt:
    """A number must be less than `bound`."""

    bound: float


@dataclass(frozen=True)
class UnusedIf:
    """A setting has no effect while the setting `name` has one of the `values`."""

    name: str
    values: tuple[object, ...]


Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Count = Annotated[int, Ge(1)]


@dataclass(frozen=True)
class Setting:
    """Name, default and permitted values of one setting; made by `read_settings`."""

    name: str
    default: Any
    types: tuple[Any, ...]
    """Types of its values, without those of `choices`."""
    choices: tuple[Any, ...] = ()
    """Values of its `Literal`."""
    is_optional: bool = False
    """Whether None is permitted."""
    metadata: tuple[Any, ...] = ()
    """Metadata of its `Annotated`."""

    def marks(self, kind: type[Marker]) -> list[Marker]:
        """Return the metadata of one kind."""
        return [mark for mark in self.metadata if isinstance(mark, kind)]

    def check(self, value: object, label: str | None = None) -> None:
        """Raise `UserError` with the label (by default the name) and the value if it is not permitted.

        Values of other types than bool, int, float and str are left to the function.
        """
        label = label or self.name
        if value is None and self.is_optional:
            return
        if any(type(value) is type(choice) and value == choice for choice in self.choices):
            return
        if not (self.types or self.choices) or any(kind not in _PLAIN for kind in self.types):
            return
        if type(value) not in self.types and not (type(value) is int and float in self.types):
            raise UserError(f"{label} must be {self._permitted()}, got {value!r}")
        if isinstance(value, int | float) and not isinstance(value, bool) and not self._contains(value):
            raise UserError(f"{label} must be {self._range()}, got {value!r}")

    def _contains(self, value: float) -> bool:
        return (
            math.isfinite(value)
            and all(value > limit.bound for limit in self.marks(Gt))
            and all(value >= limit.bound for limit in self.marks(Ge))
            and all(value < limit.bound for limit in self.marks(Lt))
        )

    def _permitted(self) -> str:
        names = [kind.__name__ for kind in self.types] + list(map(str, self.choices))
        names += ["none"] * self.is_optional
        return " or ".join(names) if self.types else f"one of {', '.join(names)}"

    def _range(self) -> str:
        low, above, below = self.marks(Ge), self.marks(Gt), self.marks(Lt)
        if low and below:
            return f"in [{low[0].bound:g}, {below[0].bound:g})"
        words = [f"at least {limit.bound:g}" for limit in low]
        words += ["positive" if limit.bound == 0 else f"greater than {limit.bound:g}" for limit in above]
        words += [f"less than {limit.bound:g}" for limit in below]
        return " and ".join(words) or "finite"


_PLAIN = (bool, int, float, str)


def read_settings(source: Callable[..., Any] | type) -> dict[str, Setting]:
    """Return the settings of a function (its keyword-only parameters) or of a dataclass (its fields).

    Parameters that a `functools.partial` fixes are none.
    """
    settings = dict[str, Setting]()
    for name, kind, default in _annotated(source):
        if isinstance(kind, type) and is_dataclass(kind):
            settings |= read_settings(kind)
        else:
            settings[name] = _read(name, kind, default)
    return settings


def bind_settings(function: Callable[..., Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments of a function for some of its settings; dataclasses are built."""
    arguments: dict[str, Any] = {}
    for name, kind, default in _annotated(function):
        if is_dataclass(kind):
            own = {field.name: values[field.name] for field in fields(kind) if field.name in values}
            if own:
                arguments[name] = replace(default, **own)
        elif name in values:
            arguments[name] = values[name]
    return arguments


def check_settings(
    values: Mapping[str, Any], known: Mapping[str, Setting], *, owner: str | None = None
) -> None:
    """Raise `UserError` for an unknown name (with the nearest ones), or a value that is not permitted.

    Args:
        values: values by name.
        known: as returned by `read_settings`.
        owner: what the settings belong to, named in the message.
    """
    for name, value in values.items():
        if name not in known:
            raise UserError(f"{owner or 'this'} has no setting {name!r}: {nearest(name, known)}")
        known[name].check(value, name if owner is None else f"{owner}.{name}")


def check_fields(config: Any) -> None:
    """Raise `UserError` if a field of a dataclass has a value that its annotation does not permit."""
    kind: type = type(config)
    for name, setting in _settings_of(kind).items():
        setting.check(getattr(config, name))


@cache
def _settings_of(kind: type) -> dict[str, Setting]:
    return read_settings(kind)


def _annotated(source: Callable[..., Any] | type) -> Iterable[tuple[str, Any, Any]]:
    """Yield name, annotation and default of each parameter or field."""
    if isinstance(source, type):
        hints = get_type_hints(source, include_extras=True)
        yield from ((field.name, hints[field.name], field.default) for field in fields(source))
        return
    fixed = source.keywords if isinstance(source, partial) else {}
    for name, parameter in inspect.signature(source, eval_str=True).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY and name not in fixed:
            yield name, parameter.annotation, parameter.default


def _read(name: str, annotation: Any, default: Any) -> Setting:
    types, choices, metadata = list[Any](), list[Any](), list[Any]()
    is_optional, pending = default is None, [annotation]
    while pending:
        kind = pending.pop(0)
        if get_origin(kind) is Annotated:
            pending.insert(0, kind.__origin__)
            metadata += kind.__metadata__
        elif get_origin(kind) in (Union, UnionType):
            pending = [*get_args(kind), *pending]
        elif get_origin(kind) is Literal:
            choices += get_args(kind)
        elif kind is NoneType or kind is None:
            is_optional = True
        elif kind is not inspect.Parameter.empty:
            types.append(kind)
    return Setting(name, default, tuple(types), tuple(choices), is_optional, tuple(metadata))
