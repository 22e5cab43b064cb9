"""Which training a folder belongs to: compared on resume, listed where it differs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .config import TrainConfig
from .errors import ResumeError
from .files import tensors_of
from .task import Task

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
    """Everything that decides the result, as a flat dict of JSON values; `extra` is the caller's own part."""
    shapes = {
        f"{part}.{name}": f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
        for part, module in (("module", task.module), ("memory", task.memory))
        for name, tensor in tensors_of(module, part).items()
    }
    facts = {
        **{f"config.{name}": value for name, value in config.facts().items()},
        **{f"weights.{name}": float(value) for name, value in task.weights.items()},
        "samples": samples,
        "seed": seed,
        "processes": world_size,
        "precision": precision,
        **shapes,
        **{f"extra.{name}": value for name, value in (extra or {}).items()},
    }
    try:
        return json.loads(json.dumps(facts))
    except (TypeError, ValueError) as error:
        raise ValueError(f"fingerprint must hold JSON values only: {error}") from error


def require_same(saved: Mapping[str, Any], current: Mapping[str, Any], folder: object) -> None:
    """Raise `ResumeError` listing the differences, where there are any."""
    lines = [
        f"  {name}: {saved.get(name, 'absent')} in the folder, {current.get(name, 'absent')} now"
        for name in [*saved, *(name for name in current if name not in saved)]
        if saved.get(name, "absent") != current.get(name, "absent")
    ]
    if lines:
        more = [f"  and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
        raise ResumeError(
            "\n".join([f"{folder} belongs to another training:", *lines[:SHOWN], *more])
            + "\nUse the same settings to continue it, or another folder for a training of its own."
        )
