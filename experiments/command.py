"""What the scripts of the pipelines share: the command line, the run folder, errors for a person."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from crdkit.engine import Accelerator, RunConfig

Config = TypeVar("Config")


def parse(
    script: str, arguments: list[str], presets: Mapping[str, Config], *, default: str, description: str
) -> tuple[str, Config]:
    """Preset and configuration of a command line: `[PRESET] --options`.

    Exits with the nearest names where a preset is unknown, and with a message where a value is refused.
    """
    import tyro

    preset, rest = default, arguments
    if arguments and not arguments[0].startswith("-"):
        preset, *rest = arguments
    if preset not in presets:
        near = difflib.get_close_matches(preset, presets, n=2)
        hint = f"did you mean {' or '.join(near)}?" if near else "there are " + ", ".join(presets)
        raise SystemExit(f"{script}: unknown preset {preset!r}; {hint}")
    try:
        config = tyro.cli(
            type(presets[preset]), default=presets[preset], args=rest, prog=f"{script} {preset}",
            description=f"{description}\nPresets: {', '.join(presets)}.",
        )  # fmt: skip
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
    from crdkit.data import DataError
    from crdkit.engine import CrdkitError

    try:
        run(config, preset)
    except (CrdkitError, DataError, OSError, ValueError) as error:
        raise SystemExit(f"{script}: {error}") from None


@contextmanager
def session(config: RunConfig, name: str) -> Iterator[tuple[Path, Accelerator, dict[str, Any]]]:
    """The run folder of a configuration, its accelerator, and what the run was made with."""
    from crdkit.engine import make_accelerator

    from .provenance import environment

    folder = run_folder(config.output, config.resume, name)
    surroundings = environment()
    accelerator = make_accelerator(
        precision=config.precision, cpu=config.cpu, trackers=config.trackers, folder=folder
    )
    try:
        yield folder, accelerator, surroundings
    finally:
        accelerator.end_training()


def run_folder(output: Path | None, resume: bool, name: str) -> Path:
    """The run's folder: `output`, or a dated one under runs/.

    Raises:
        FileExistsError: a run is in it already, and not to be resumed.
        ValueError: nothing is named to resume.
    """
    if output is None:
        if resume:
            raise ValueError("--resume needs --output, the folder of the run to continue")
        return Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    if output.exists() and any(output.iterdir()) and not resume:
        raise FileExistsError(
            f"{output} holds a run already: continue it with --resume, or name another --output"
        )
    return output


def write_config(config: Any, folder: Path) -> None:
    """config.yaml, the resolved configuration."""
    import yaml

    folder.mkdir(parents=True, exist_ok=True)
    plain = json.loads(json.dumps(asdict(config), default=str))
    (folder / "config.yaml").write_text(yaml.safe_dump(plain, sort_keys=False))
