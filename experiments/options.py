"""The options that every command has beside its configuration: help, lists, the plan, epochs, processes."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from ..common import UserError

if TYPE_CHECKING:
    from crdkit.engine import TrainConfig

Config = TypeVar("Config")

SIZE_OF = "--data.size."
"""Beginning of the flags that give one modality a size of its own."""

LISTS = ("methods", "networks", "presets", "data")

WORDS = {
    "epochs": "Epochs of every stage; warm-up and milestones scale with it. A stage's own flag overrides it.",
    "processes": "Start so many ranks on this machine through Accelerate's launcher.",
    "sync-batchnorm": "In every stage, batch-norm statistics over the samples of all ranks.",
    "dry-run": "Print the plan: stages, steps, parameters, memory, disk, minutes. Nothing is written.",
    "list": "Print what there is: methods, networks, presets or data.",
    "traceback": "Print the traceback of every error; CRDKIT_TRACEBACK=1 does the same.",
    "help-all": "Every setting there is.",
}
"""What the short help says of them."""


@dataclass(frozen=True)
class Options:
    """As a person gave them."""

    epochs: int | None
    processes: int | None
    sync_batchnorm: bool
    list: str | None
    dry_run: bool
    doctor: bool
    """Examine what a run needs; `crdkit doctor COMMAND` adds it."""
    help: bool
    help_all: bool


def read_options(arguments: Sequence[str]) -> tuple[Options, list[str]]:
    """The options among the arguments, and the rest in its order.

    Raises:
        ValueError: a value that cannot be.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in ("epochs", "processes"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--list")
    for flags in (
        ("--sync-batchnorm", "--sync_batchnorm"),
        ("--dry-run", "--dry_run"),
        ("--doctor",),
        ("--help-all", "--help_all"),
        ("--help", "-h"),
    ):
        parser.add_argument(*flags, action="store_true")
    try:
        given, rest = parser.parse_known_args(list(arguments))
    except argparse.ArgumentError as error:
        raise UserError(f"{error.argument_name}: {error.message}") from None
    for name in ("epochs", "processes"):
        value = getattr(given, name)
        if value is not None and value < 1:
            raise UserError(f"--{name} must be at least 1, got {value}")
    if given.list is not None and given.list not in LISTS:
        raise UserError(f"--list {given.list}: there are lists of {', '.join(LISTS)}")
    return Options(**vars(given)), rest


def with_epochs(config: Config, epochs: int) -> tuple[Config, list[str]]:
    """The configuration with every stage trained for so many epochs, and a line for each that says so."""
    said: list[str] = []

    def shorten(train: TrainConfig, path: str) -> TrainConfig:
        factor = epochs / train.epochs
        warmup = train.warmup_epochs * factor
        line = f"{path}: {epochs} epochs instead of {train.epochs}"
        if train.warmup_epochs:
            line += f", warm-up over {warmup:.3g} instead of {train.warmup_epochs:.3g}"
        if train.schedule == "step":
            milestones = [milestone * factor for milestone in train.milestones]
            line += f", milestones at {', '.join(f'{m:.3g}' for m in milestones)}"
        said.append(line)
        return replace(
            train,
            epochs=epochs,
            warmup_epochs=warmup,
            milestones=tuple(milestone * factor for milestone in train.milestones),
            evaluate_every=max(1, round(train.evaluate_every * factor)),
        )

    return with_stages(config, shorten), said


def with_stages(config: Config, change: Callable[[TrainConfig, str], TrainConfig]) -> Config:
    """The configuration with every stage's settings changed: (settings, path of the flag) -> settings."""
    from crdkit.engine import TrainConfig

    def changed(part: Any, path: str) -> Any:
        if isinstance(part, TrainConfig):
            return change(part, path)
        inner = {field.name: getattr(part, field.name) for field in fields(part)}
        return replace(
            part,
            **{
                name: changed(value, f"{path}.{name}".lstrip("."))
                for name, value in inner.items()
                if is_dataclass(value)
            },
        )

    found: Config = changed(config, "")
    return found


def epochs_of_methods(methods: Sequence[str], settings: Sequence[str], epochs: int) -> tuple[str, ...]:
    """Settings for what some of these methods train before the transfer, if they are not given already."""
    from crdkit.distillers import parse_methods

    parts = {part.name: part for method in parse_methods(methods, settings) for part in method.parts}
    return tuple(
        f"{name}.{part.pretrain_setting}={epochs}"
        for name, part in parts.items()
        if part.pretrain_setting is not None and part.pretrain_setting not in part.settings
    )


def merge_flags(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with all values of `--setting` after one flag, and those of single modalities'
    sizes (`--data.size.rgb 224 224`) after one `--data.sizes`.

    tyro keeps the last of two flags of one name, and knows no flags named by a mapping's keys.

    Args:
        arguments: flags as `--flag value` or `--flag=value`, with dashes or underscores.
    """
    others: list[str] = []
    merged: dict[str, list[str]] = {"--data.sizes": [], "--setting": []}
    target = others
    for word in arguments:
        if re.match(r"--?[A-Za-z]", word):
            flag, equals, value = word.partition("=")
            if flag == "--setting":
                target = merged[flag]
            elif flag.startswith(SIZE_OF):
                target = merged["--data.sizes"]
                target.append(flag.removeprefix(SIZE_OF))
            else:
                target, equals, value = others, "=", word
            if equals:
                target.append(value)
        else:
            target.append(word)
    return others + [word for flag, values in merged.items() if values for word in (flag, *values)]
