"""What the commands share: the command line and the run folder."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from crdkit.common import UserError, nearest

from .checks import check_config
from .errors import USAGE, Refused, errors_as_messages, usage
from .invocation import (
    is_main_rank,
    start_ranks,
    tracebacks,
    without,
)
from .options import Options, epochs_of_methods, merge_flags, read_options, with_epochs, with_stages

if TYPE_CHECKING:
    pass

Config = TypeVar("Config")


def main(
    name: str,
    run: Callable[[Config, str], object],
    presets: Mapping[str, Config],
    *,
    default: str,
    description: str,
    arguments: Sequence[str] | None = None,
    plan: Callable[[Config, str], object] | None = None,
    doctor: Callable[[Config, str], object] | None = None,
) -> None:
    """Read the command line, check what it names, and run.

    An error that the user can correct is one message. Its exit code is 2 for what was typed, and then torch
    has not been imported yet, and 1 for files, folders and data. `--traceback` prints its traceback, too.

    Args:
        name: of the command, such as `crossmodal`.
        run: (configuration, name of its preset).
        description: its first paragraph is the help's, its indented lines are the examples.
        arguments: those of the process if absent.
        plan: what `--dry-run` calls in the place of `run`.
        doctor: what `crdkit doctor` calls in the place of `run`.
    """
    with tracebacks(sys.argv[1:] if arguments is None else arguments) as given:
        with usage(name):
            options, rest = read_options(given)
            if options.list is not None:
                from .lists import print_list

                return print_list(options.list, presets)
            preset, config = parse(
                name, rest, presets, default=default, description=description, options=options
            )
            action = doctor if options.doctor else plan if options.dry_run else run
            if action is None:
                raise UserError("--dry-run: this command has no plan to print")
            check_config(config)
            if options.processes is not None:
                kept = without(given, "--processes")
                start_ranks(name, kept, options.processes, cpu=bool(getattr(config, "cpu", False)))
        with errors_as_messages(name):
            action(config, preset)


def parse(
    name: str,
    arguments: Sequence[str],
    presets: Mapping[str, Config],
    *,
    default: str,
    description: str,
    options: Options | None = None,
) -> tuple[str, Config]:
    """Preset and configuration of a command line: `[PRESET] --flags`.

    The preset's own settings of distillers stay in force before those of the command line; the later one of
    the same name wins. Ends the process with the nearest names if a preset or a flag is unknown, with a
    message if a value is refused, and after printing the help.
    """
    import tyro

    from .help import known_flags

    preset, rest = default, list(arguments)
    if rest and not rest[0].startswith("-"):
        preset, *rest = rest
    if preset not in presets:
        raise Refused(name, f"unknown preset {preset!r}; {nearest(preset, presets)}", USAGE)
    base: Any = presets[preset]
    if options is not None and options.help:
        from .help import short_help

        print(short_help(name, base, preset, presets, *split_description(description)))
        raise SystemExit(0)
    shortened: list[str] = []
    if options is not None and options.epochs is not None:
        base, shortened = with_epochs(base, options.epochs)
    if options is not None and options.sync_batchnorm:
        base = with_stages(base, lambda train, _: replace(train, sync_batchnorm=True))
    everything = options is not None and options.help_all
    try:
        given = ["--help"] if everything else known_flags(base, merge_flags(rest))
        config: Any = tyro.cli(
            type(base),
            default=base,
            args=given,
            prog=f"crdkit {name} {preset}",
            description=f"{description}\nPresets: {', '.join(presets)}.",
            console_outputs=is_main_rank(),
        )
        own, idle = getattr(base, "setting", ()), list[str]()
        if (typed := getattr(config, "setting", own)) != own:
            config = replace(config, setting=(*own, *typed))
            from crdkit.distillers import without_effect  # imports torch with the makers

            idle = without_effect(config.method, typed, config.setting)
        if options is not None and options.epochs is not None and hasattr(config, "method"):
            more = epochs_of_methods(config.method, config.setting, options.epochs)
            config, shortened = replace(config, setting=(*config.setting, *more)), [*shortened, *more]
    except UserError as error:
        raise Refused(name, error, USAGE) from None
    said = [*(f"--epochs: {line}" for line in shortened), *(f"--setting {line}" for line in idle)]
    if said and is_main_rank() and options is not None and options.processes is None:
        print("\n".join(said))
    return preset, config


def split_description(text: str) -> tuple[str, str]:
    """The first paragraph of a command's description, and its indented lines, which are examples."""
    lines = text.strip().splitlines()
    paragraph = lines[: lines.index("")] if "" in lines else lines
    return "\n".join(paragraph), "\n".join(line.strip() for line in lines if line.startswith("    "))
