"""The results of a finished training: the weights, what they belong to, and the history."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from .errors import CheckpointError, OutputError
from .files import WRITE_ERRORS, read_tensors, sha256, tensors_of, write_json, write_tensors
from .fingerprint import require_same
from .task import Task

CHECKPOINTS = "checkpoints"
MODEL, FACTS, HISTORY = "model.safetensors", "training.json", "history.json"


def write_finished(folder: Path, task: Task, facts: dict[str, Any], history: list[dict[str, Any]]) -> None:
    """Write the weights, the fingerprint and last the history; then delete the checkpoints.

    Raises:
        NonFiniteError: a weight is NaN or infinite.
        OutputError: the folder cannot be written.
    """
    try:
        write_tensors(folder / MODEL, tensors_of(task.module, "module"))
        write_json(folder / FACTS, {"fingerprint": facts, "sha256": {MODEL: sha256(folder / MODEL)}})
        write_json(folder / HISTORY, history)
    except WRITE_ERRORS as error:
        raise OutputError(f"cannot write results to {folder}: {error}; its checkpoints stay") from error
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def read_finished(folder: Path, task: Task, facts: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Load a finished training's weights into `task.module` and return its history; None for other folders.

    Raises:
        ResumeError: it was another training.
        CheckpointError: a file is missing or damaged.
    """
    if not (folder / HISTORY).exists():
        return None
    try:
        history = json.loads((folder / HISTORY).read_bytes())
        saved = json.loads((folder / FACTS).read_bytes())
        require_same(saved["fingerprint"], facts, folder)
        if sha256(folder / MODEL) != saved["sha256"][MODEL]:
            raise CheckpointError(f"{folder / MODEL} is damaged: its SHA-256 is not the one in {FACTS}")
        task.module.load_state_dict(read_tensors(folder / MODEL))
    except (*WRITE_ERRORS, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"cannot read the finished training in {folder}: {error}. Delete it to train again"
        ) from error
    return history
