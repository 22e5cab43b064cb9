"""What the scripts share: the command line, the run folder, errors for a person."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from crdkit.common import CrdkitError, nearest, plain, write_text

if TYPE_CHECKING:
    from crdkit.engine import Accelerator

Config = TypeVar("Config")


def parse(
    script: str, arguments: list[str], presets: Mapping[str, Config], *, default: str, description: str
) -> tuple[str, Config]:
    """Preset and configuration of a command line: `[PRESET] --options`.

    The preset's own settings of distillers stay in force before those of the command line; the later one of
    the same name wins. Exits with the nearest names if a preset is unknown, and with a message if a value is
    refused.
    """
    import tyro

    from .flags import current

    preset, rest = default, arguments
    if arguments and not arguments[0].startswith("-"):
        preset, *rest = arguments
    if preset not in presets:
        raise SystemExit(f"{script}: unknown preset {preset!r}; {nearest(preset, presets)}")
    base: Any = presets[preset]
    try:
        config: Any = tyro.cli(
            type(base), default=base, args=current(script, rest), prog=f"{script} {preset}",
            description=f"{description}\nPresets: {', '.join(presets)}.",
        )  # fmt: skip
        own = getattr(base, "setting", ())
        if own and config.setting != own:
            config = replace(config, setting=(*own, *config.setting))
    except ValueError as error:
        raise SystemExit(f"{script}: {error}") from None
    return preset, config


def main(
    script: str,
    run: Callable[[Config, str], object],
    presets: Mapping[str, Config],
    *,
    default: str,
    description: str,
) -> None:
    """Parse the command line and run: what cannot be done is a message and exit code 1, no stack trace."""
    preset, config = parse(script, sys.argv[1:], presets, default=default, description=description)
    with errors_as_messages(script):
        run(config, preset)


@contextmanager
def errors_as_messages(script: str) -> Iterator[None]:
    """Inside, what a person can put right ends the process with a message and exit code 1."""
    try:
        yield
    except (CrdkitError, OSError, ValueError) as error:
        raise SystemExit(f"{script}: {error}") from None


@contextmanager
def session(config: Any, name: str) -> Iterator[tuple[Path, Accelerator, dict[str, Any]]]:
    """The run folder of a configuration, its accelerator, and what the run was made with.

    Args:
        config: with the fields output, resume, precision, cpu and trackers of `RunConfig`.
        name: of the run, for the folder.

    Raises:
        FileExistsError, ValueError: as `run_folder` does; ValueError before there is a folder for a method or
            setting that nobody knows.
    """
    from crdkit.distillers import check_settings, parse_method, parse_settings
    from crdkit.engine import make_accelerator

    from .provenance import environment

    for method in getattr(config, "method", ()):
        parse_method(method)
    check_settings(parse_settings(getattr(config, "setting", ())))
    folder = run_folder(config.output, config.resume, name, share=lambda own: _from_main(config.cpu, own))
    surroundings = environment()
    accelerator = make_accelerator(
        precision=config.precision, cpu=config.cpu, trackers=config.trackers, folder=folder
    )
    try:
        yield folder, accelerator, surroundings
    finally:
        accelerator.end_training()


def run_folder(output: Path | None, resume: bool, name: str, *, share: Callable[[str], str]) -> Path:
    """The run's folder: `output`, or one of its own under runs/, by date and a few random digits.

    Args:
        name: of the run, before the date.
        share: gives every process the main one's string, so that all have one folder.

    Raises:
        FileExistsError: a run is in it already, and not to be resumed.
        ValueError: nothing is named to resume.
    """
    if output is None:
        if resume:
            raise ValueError("--resume needs --output, the folder of the run to continue")
        return Path("runs") / share(f"{name}-{datetime.now():%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}")
    if output.exists() and any(output.iterdir()) and not resume:
        raise FileExistsError(f"{output} holds a run already: go on with --resume, or name another --output")
    return output


def _from_main(cpu: bool, value: str) -> str:
    # Before the accelerator is made, as its trackers want to know the folder.
    from accelerate import PartialState

    from crdkit.engine import from_main

    state: Any = PartialState(cpu=cpu)
    return from_main(state, value)


def write_config(config: Any, folder: Path) -> None:
    """config.yaml, the resolved configuration."""
    import yaml

    write_text(folder / "config.yaml", yaml.safe_dump(plain(asdict(config)), sort_keys=False))
