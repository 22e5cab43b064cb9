"""Checks of a configuration before any work: names, settings, paths, the run folder, trackers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..common import UserError, is_empty, nearest, require_free, require_workers

TRACKERS = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "wandb": ("wandb",),
    "mlflow": ("mlflow",),
    "trackio": ("trackio",),
    "comet_ml": ("comet_ml",),
    "aim": ("aim",),
    "clearml": ("clearml",),
    "dvclive": ("dvclive",),
    "swanlab": ("swanlab",),
}
"""accelerate's trackers, and the packages of which each needs one."""

MARKS = ("config.yaml", "results.json", "statistics", "teachers", "runs", "training", "cache")
"""What a run leaves in its folder, from its first minute on."""


def check_config(config: Any) -> None:
    """Check what a configuration names, before data or networks are loaded.

    Args:
        config: of any command; fields that it has not are passed over.

    Raises:
        ValueError: a method, setting, network, normalization or tracker that nobody knows, a root that is
            not given, more workers than the cores could keep busy.
        OSError, DataError: files or folders that are not there, a run folder that is taken, or that holds
            nothing to resume.
    """
    from crdkit.models import check_network

    for name in _networks(config):
        check_network(name)
    _check_trackers(getattr(config, "trackers", ()))
    _check_workers(config)
    _check_data(getattr(config, "data", None))
    for number, weights in enumerate(getattr(getattr(config, "teacher", None), "weights", ())):
        _check_weights(number, weights)
    for folder in getattr(config, "reuse", ()):
        if not folder.is_dir():
            raise FileNotFoundError(f"--reuse {folder}: there is no such run folder{_beside(folder)}")
    if hasattr(config, "resume"):
        check_folder(config.output, config.resume)
    if hasattr(config, "method"):  # last: the makers, which say what a setting may be, import torch
        from crdkit.distillers import parse_methods

        parse_methods(config.method, config.setting)


def check_network_and_files(network: Path, files: Iterable[str], encoding: Iterable[str]) -> None:
    """What `crdkit predict` and `crdkit export` are given, in milliseconds.

    Raises:
        FileNotFoundError: the network or a file is not there; a camera is not looked for.
        ValueError: an encoding that nobody knows.
    """
    from crdkit.data import parse_encodings

    parse_encodings(encoding)
    for path in (network, *(Path(file) for file in files if not file.startswith("camera:"))):
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist{_beside(path)}")


def check_folder(output: Path | None, resume: bool) -> None:
    """Refuse a run folder that holds a run already, or on `--resume` none.

    Raises:
        FileExistsError: a run is in it already, and not to be resumed.
        FileNotFoundError: there is nothing to resume.
        ValueError: nothing is named to resume.
        OutputError: another process writes in it.
    """
    if output is None:
        if resume:
            raise UserError("--resume needs --output, the folder of the run to continue")
        return
    if output.exists() and not output.is_dir():
        raise FileExistsError(f"--output {output} is a file")
    require_free(output)
    if resume and not any((output / name).exists() for name in MARKS):
        what = "holds no run" if output.exists() else "does not exist"
        raise FileNotFoundError(
            f"--resume: {output} {what}, so there is nothing to continue{_beside(output)}; without --resume "
            "a run begins there"
        )
    if not resume and output.exists() and not is_empty(output):
        raise FileExistsError(f"{output} holds a run already: go on with --resume, or name another --output")


def _networks(config: Any) -> list[str]:
    teacher = getattr(config, "teacher", None)
    own = [getattr(config, name) for name in ("student", "architecture") if hasattr(config, name)]
    return [*own, *getattr(teacher, "architecture", ()), *getattr(config, "network", ())]


def _check_trackers(names: tuple[str, ...]) -> None:
    for name in names:
        if name != "all" and name not in TRACKERS:
            raise UserError(f"unknown tracker {name!r}: {nearest(name, TRACKERS)}")
        packages = TRACKERS.get(name, ())
        if packages and not any(find_spec(package) for package in packages):
            raise UserError(
                f"--trackers {name}: {packages[0]} is not installed: python -m pip install {packages[0]}"
            )


def _check_workers(config: Any, flag: str = "-") -> None:
    for part in fields(config) if is_dataclass(config) else ():
        value, name = getattr(config, part.name), f"{flag}{'.' if flag != '-' else '-'}{part.name}"
        if part.name == "num_workers":
            try:
                require_workers(value)
            except ValueError as error:
                raise UserError(f"{name.replace('_', '-')}: {error}") from None
        _check_workers(value, name)


def _check_data(data: Any) -> None:
    from crdkit.data import DataError, parse_encodings

    parse_encodings(getattr(data, "encoding", ()))
    try:
        if hasattr(data, "require_root"):
            data.require_root()
    except DataError as error:
        if data.root is None:  # nobody said where: a matter of the command line, not of the data
            raise UserError(str(error)) from None
        raise


def _check_weights(number: int, weights: str) -> None:
    """A file that is not there; names of published weights are for the libraries to know."""
    path = Path(weights)
    if path.exists() or not (path.suffix or "/" in weights):
        return
    file = path.with_name(path.name.rpartition("#")[0] or path.name)
    if not file.exists():
        raise FileNotFoundError(f"teacher {number} ({weights}): there is no file {file}{_beside(file)}")


def _beside(path: Path) -> str:
    """Names near to one that is not there, among those beside it."""
    from difflib import get_close_matches

    try:
        names = [other.name for other in path.absolute().parent.iterdir()]
    except OSError:
        return ""
    near = [str(path.parent / name) for name in get_close_matches(path.name, names, n=3) if name != path.name]
    return f" (did you mean {' or '.join(near)}?)" if near else ""
