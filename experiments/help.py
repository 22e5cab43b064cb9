"""The flags that there are, and what `--help` prints of them: those that most runs change, on two screens."""

from __future__ import annotations

import ast
import inspect
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

from ..common import UserError, nearest
from .options import WORDS

GROUPS = {
    "data": ("data.source", "data.root", "data.size", "data.classes", "data.depth-scale"),
    "teacher": (
        "teacher.modality",
        "teacher.architecture",
        "teacher.weights",
        "teacher.number",
        "teacher.labels",
    ),
    "student": ("student", "student-modality", "student-lr", "architecture"),
    "methods": ("method", "setting", "teachers", "task-weight"),
    "budget": (
        "epochs",
        "seed",
        "transfer.train.batch-size",
        "transfer.cached-augmentations",
        "transfer.mix",
        "transfer.ema",
        "segment.label-fraction",
        "train.batch-size",
        "train.lr",
        "processes",
        "sync-batchnorm",
        "precision",
        "cpu",
    ),
    "output": ("output", "resume", "keep", "reuse", "trackers", "dry-run", "list", "traceback", "help-all"),
}
"""Flags by what they decide; a command has those of its configuration."""

INDENT, COLUMN = 2, 36


def short_help(
    name: str, config: Any, preset: str, presets: Mapping[str, Any], description: str, examples: str
) -> str:
    """The help of a command, at most a hundred lines.

    Args:
        config: of the preset, whose values are told as defaults.
        examples: command lines, at the end.
    """
    width = min(110, max(80, shutil.get_terminal_size().columns))
    parts = [f"usage: crdkit {name} [PRESET] [--FLAG VALUE …]", "", description.strip(), ""]
    listed = textwrap.fill(", ".join(presets), width, initial_indent="presets: ", subsequent_indent="  ")
    parts += [f"{listed} (here: {preset})"]
    known = dict(walk(config))
    for group, names in GROUPS.items():
        rows = [
            _entry(flag, *known[flag], width=width) if flag in known else _option(flag, width=width)
            for flag in names
            if flag in known or flag in WORDS
        ]
        if rows:
            parts += ["", group, *rows]
    parts += ["", "examples", textwrap.indent(examples.strip(), " " * INDENT)]
    return "\n".join(parts)


def walk(config: Any, prefix: str = "") -> Iterator[tuple[str, tuple[Any, Any, str]]]:
    """Every flag of a configuration with the type of its value, the value and its description."""
    hints, documented = get_type_hints(type(config)), field_docs(type(config))
    for field in fields(config):
        value, flag = getattr(config, field.name), prefix + field.name.replace("_", "-")
        if is_dataclass(value):
            yield from walk(value, f"{flag}.")
        else:
            yield flag, (hints[field.name], value, documented.get(field.name, ""))


def field_docs(kind: Any) -> dict[str, str]:
    """The text under each field of a dataclass, its own or inherited."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if is_dataclass(base):
            body = ast.parse(textwrap.dedent(inspect.getsource(cast(type, base)))).body[0]
            assert isinstance(body, ast.ClassDef)
            for node, after in zip(body.body, body.body[1:], strict=False):
                is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                if isinstance(node, ast.AnnAssign) and is_text:
                    found[ast.unparse(node.target)] = " ".join(ast.literal_eval(ast.unparse(after)).split())
    return found


def _entry(flag: str, kind: Any, value: Any, text: str, *, width: int) -> str:
    shown = f"--{flag}" + ("" if kind is bool else f" {_metavar(kind)}")
    first = text.partition(". ")[0].partition("; ")[0].rstrip(".")
    return _row(shown, f"{first} ({_default(value)})", width)


def _option(flag: str, *, width: int) -> str:
    value = {"epochs": " N", "processes": " N", "list": " WHAT"}.get(flag, "")
    return _row(f"--{flag}{value}", WORDS[flag], width)


def _row(left: str, text: str, width: int) -> str:
    left = " " * INDENT + left
    rest = textwrap.wrap(text, width - COLUMN)
    if len(left) < COLUMN:
        left = f"{left:{COLUMN}}{rest.pop(0)}"
    return "\n".join([left, *(" " * COLUMN + line for line in rest)])


def _metavar(kind: Any) -> str:
    options = [each for each in get_args(kind) if each is not type(None)]
    if get_origin(kind) is Literal:
        return "WHICH"
    if get_origin(kind) is tuple:
        return f"{_metavar(options[0])} …" if Ellipsis in options else " ".join(map(_metavar, options))
    if options:
        return _metavar(options[0])
    return "PATH" if kind is Path else "X" if kind is float else "N" if kind is int else "NAME"


def _default(value: Any) -> str:
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return " ".join(map(str, value)) if len(str(value)) < 60 else f"{value[0]} … {len(value)} in all"
    return str(value)


def known_flags(config: Any, arguments: Sequence[str]) -> list[str]:
    """The arguments, if their flags are of the configuration.

    Raises:
        ValueError: a flag that is not; the nearest are suggested. Or one of a list that stands twice:
            the values of the first would be passed over.
    """
    known, lists = {}, set[str]()
    for flag, (kind, _, _) in walk(config):
        known[flag] = f"--{flag}"
        if get_origin(kind) is tuple and Ellipsis in get_args(kind):
            lists.add(flag)
        if kind is bool:
            part, dot, last = flag.rpartition(".")
            known[f"{part}{dot}no-{last}"] = f"--{part}{dot}no-{last}"
    given = set[str]()
    shown = known | {name: f"--{name}" for name in WORDS}
    for word in arguments:
        if word.startswith("--") and word[2:3].isalpha():
            flag = word[2:].partition("=")[0].replace("_", "-")
            if flag not in known:
                raise UserError(f"unknown flag --{flag}: {nearest(flag, shown, shown=shown)}")
            if flag in lists & given:
                raise UserError(f"--{flag} is given twice: give it once, several values with blanks between")
            given.add(flag)
    return list(arguments)
