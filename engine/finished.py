"""A training's folder: which training it belongs to, and its results when it is finished."""

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..common import MANIFEST, Artifact, ManifestError, UserError, differences, plain, write_json
from .config import TrainConfig
from .errors import CheckpointError, OutputError, ResumeError
from .files import WRITE_ERRORS, read_tensors, split_by_rank, tensors_of, write_tensors
from .task import Task

CHECKPOINTS = "checkpoints"
MODEL, AVERAGE = "model.safetensors", "model-ema.safetensors"
HISTORY, KEPT = "history.json", "kept.json"
SHOWN = 12


def make_fingerprint(
    task: Task,
    config: TrainConfig,
    *,
    samples: int,
    seed: int,
    world_size: int,
    precision: str,
    extra: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Everything that decides the result, as JSON values; `extra` is the caller's own part."""
    shapes = {
        f"{part}.{name}": f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
        for part, module in (("module", task.module), ("memory", task.memory))
        for name, tensor in split_by_rank(tensors_of(module, part))[0].items()
    }
    fingerprint = plain(
        {
            "config": config.fingerprint(),
            "weights": {name: float(value) for name, value in task.weights.items()},
            "samples": samples,
            "seed": seed,
            "processes": world_size,
            "precision": precision,
            "extra": extra or {},
            "shapes": shapes,
            **({} if task.average is None else {"ema": task.average.decay}),
        }
    )
    try:
        found: dict[str, Any] = json.loads(json.dumps(fingerprint))
        return found
    except (TypeError, ValueError) as error:
        raise UserError(f"fingerprint must hold JSON values only: {error}") from error


def require_same(saved: Mapping[str, Any], current: Mapping[str, Any], folder: object) -> None:
    """Raise `ResumeError` listing the differences, if there are any."""
    lines = [f"  {line}" for line in differences(saved, current)]
    if lines:
        more = [f"  and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
        raise ResumeError(
            "\n".join([f"{folder} belongs to another training:", *lines[:SHOWN], *more]),
            "Use the same settings to continue it, or another folder for a training of its own.",
        )


def write_finished(
    folder: Path, task: Task, fingerprint: dict[str, Any], history: list[dict[str, Any]]
) -> None:
    """Write the weights, the history and last the manifest; then delete the checkpoints.

    Raises:
        NonFiniteError: a weight is NaN or infinite.
        OutputError: the folder cannot be written.
    """
    try:
        names: tuple[str, ...] = (MODEL, HISTORY)
        write_tensors(folder / MODEL, tensors_of(task.module, "module"))
        if task.average is not None:
            write_tensors(folder / AVERAGE, task.average.tensors)
            names = (*names, AVERAGE)
        write_json(folder / HISTORY, history)
        Artifact.seal(folder, fingerprint, names)
    except WRITE_ERRORS as error:
        raise OutputError(f"cannot write results to {folder}: {error}; its checkpoints stay") from error
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def read_finished(folder: Path, task: Task, fingerprint: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Load a finished training's weights into `task.module` and return its history; None for other folders.

    Raises:
        NotKeptError: it is finished, but neither its weights nor what stands in for them are there.
        ResumeError: it was another training.
        CheckpointError: a file is missing or damaged.
    """
    if not (folder / HISTORY).exists():
        return None
    if (folder / CHECKPOINTS).exists() and not (folder / MANIFEST).exists():
        return None  # killed between the history and the manifest
    try:
        manifest = Artifact.open(folder)
        require_same(manifest.fingerprint, fingerprint, folder)
        if MODEL in manifest.files:
            task.module.load_state_dict(read_tensors(folder / MODEL))
            if task.average is not None:
                task.average.load(read_tensors(folder / AVERAGE))
        else:
            task.restore(folder, json.loads((folder / KEPT).read_bytes()) if KEPT in manifest.files else {})
        history: list[dict[str, Any]] = with_nan(json.loads((folder / HISTORY).read_bytes()))
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)  # of a kill before they were deleted
        return history
    except (ManifestError, *WRITE_ERRORS, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"cannot read the finished training in {folder}: {error}. Delete it to train again"
        ) from error


def with_nan(value: Any) -> Any:
    """JSON values with NaN where `write_json` wrote null."""
    if isinstance(value, dict):
        return {name: with_nan(item) for name, item in value.items()}
    if isinstance(value, list):
        return [with_nan(item) for item in value]
    return math.nan if value is None else value


def drop_weights(folder: Path, kept: Mapping[str, Any] | None = None) -> None:
    """Delete the weights of a finished training; nothing happens to a folder that has none.

    Args:
        kept: JSON values by which `Task.restore` knows what stands in for them; None for nothing.

    Raises:
        ManifestError: the folder is not whole.
        OSError: it cannot be written.
    """
    if not (folder / MODEL).exists() or not (folder / MANIFEST).exists():
        return
    manifest = Artifact.open(folder, verify=False)
    names: tuple[str, ...] = (HISTORY,)
    if kept is not None:
        write_json(folder / KEPT, kept)
        names = (HISTORY, KEPT)
    # The manifest first: a kill in between leaves a file too many, and none that is missed.
    Artifact.seal(folder, manifest.fingerprint, names)
    (folder / MODEL).unlink()
    (folder / AVERAGE).unlink(missing_ok=True)
