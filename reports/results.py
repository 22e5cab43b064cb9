"""results.json: the figures of a run, with what they were made with."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..common import MANIFEST, Artifact, ManifestError, to_json, write_text
from ..data import DataError
from .tables import Run, summarize

FILE = "results.json"
SEALED = (FILE, "report.json", "pool.json")
"""Figures of a run, whose digests its manifest has."""


def write_results(
    folder: Path | str,
    *,
    task: str,
    preset: str,
    runs: Sequence[Run],
    environment: Mapping[str, Any],
    config: Any = None,
    teacher: Any = None,
) -> Path:
    """Write ``folder/results.json`` whole or not at all, and return its path.

    Keys: ``task``, ``preset``, ``runs``, ``summary`` (see `summarize`), ``environment``, and if given
    ``teacher``, its metrics (a list of them for several teachers), and ``config``, a mapping or a dataclass.
    Of a path in the config only the last part is kept: where the data lay on this machine is no part of the
    result. A NaN within a list (the IoU of an absent class) becomes null.
    """
    results = {
        "task": task,
        "preset": preset,
        "runs": _json(list(runs)),
        "summary": summarize(runs),
        "environment": _json(environment),
    }
    if teacher:
        one = isinstance(teacher, Sequence) and len(teacher) == 1
        results["teacher"] = _json(teacher[0] if one else teacher)
    if config is not None:
        results["config"] = as_written(config)
    path = Path(folder) / FILE
    write_sealed(path, results)
    return path


def write_sealed(path: Path, value: Any) -> None:
    """Write JSON that `read_results` checks: the run folder's manifest has its digest."""
    folder, text = path.parent, to_json(value, path, indent=2) + "\n"
    (folder / MANIFEST).unlink(missing_ok=True)  # a kill in between leaves no digest that is wrong
    write_text(path, text)
    Artifact.seal(folder, {}, tuple(name for name in SEALED if (folder / name).exists()))


def read_results(folder: Path) -> dict[str, Any]:
    """What `write_results` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it is damaged, or of something else.
    """
    path = folder / FILE
    if not path.is_file():
        what = "holds no finished run" if folder.is_dir() else "is no folder"
        raise FileNotFoundError(f"{folder} {what}: there is no {path}, which a run writes at its end")
    try:
        if (folder / MANIFEST).exists():
            Artifact.open(folder)
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ManifestError as error:
        raise DataError(f"{error}; `--resume` of the run writes it anew") from error
    except ValueError as error:
        raise DataError(f"{path} is damaged: {error}") from error
    missing = [name for name in ("task", "preset", "runs", "summary", "environment") if name not in found]
    if missing:
        raise DataError(f"{path} is not of a run: it has no {missing[0]!r}")
    return found


def as_written(config: Any) -> Any:
    """A configuration as results.json has it."""
    return _without_places(_json(config))


def _json(value: Any) -> Any:
    """Dataclasses, mappings, arrays, tensors, paths as what JSON has; a NaN in a list becomes None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return {str(key): _json(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        items = [_json(item) for item in value]
        return [None if isinstance(item, float) and math.isnan(item) else item for item in items]
    return str(value) if isinstance(value, Path) else value


def _without_places(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_places(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_places(item) for item in value]
    if isinstance(value, str) and value.startswith(("/", "./", "../", "~")):
        return Path(value).name
    return value
