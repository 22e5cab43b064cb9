"""What a run takes, computed from its numbers and compared with what is free before anything is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, prod
from typing import Any

import torch
from torch import Tensor

from ...common import UserError, free_memory, require_memory, require_space
from ...distillers import known_methods, parse_method, settings_of
from ...engine import Accelerator, Task, TrainConfig
from ...transfer import Builder, TransferTask
from ..program import Training
from ..workspace import Workspace

CHECKPOINTS = 3
"""Checkpoints of a training that runs: two are stored while the third is written."""


def check_memory(trainings: Sequence[Training], workspace: Workspace) -> None:
    """Compare the memory banks of the methods, their negatives and the cached pixels with what is free.

    The figures are lower bounds: what fits may still fail, what is refused could not have worked.

    Raises:
        UserError: one sample to train on; more memory than is free, with both figures and a remedy.
        OutputError: more disk than is free, also with a remedy.
    """
    builder, accelerator = workspace.builder, workspace.accelerator
    samples = len(builder.data.dataset)
    if samples < 2:
        raise UserError(f"at least two samples are needed to train on, got {samples}")
    free = _free(accelerator.device)
    for method in dict.fromkeys(training.method for training in trainings if training.run is not None):
        for name in parse_method(method):
            _check_method(name, builder, samples, accelerator, free)
    _check_cache(workspace, samples, free)


def training_bytes(task: Task, train: TrainConfig, keep: str) -> tuple[int, int]:
    """Return the bytes that a training leaves, and those of its checkpoints while it runs."""
    whole = kept = state_bytes(task.module.state_dict())
    if isinstance(task, TransferTask):  # the student has a file of its own, and the heads may stay
        student = state_bytes(task.student.state_dict())
        kept = student if keep != "all" else kept + student
        kept *= 1 if task.average is None else 2
    memory = 0 if task.memory is None else state_bytes(task.memory.state_dict())
    slots = 2 if train.optimizer == "adamw" else int(train.momentum > 0)
    slots += task.average is not None
    return kept, CHECKPOINTS * (whole * (1 + slots) + memory)


def state_bytes(state: Mapping[str, Tensor]) -> int:
    """Return the bytes of all tensors together."""
    return sum(value.numel() * value.element_size() for value in state.values())


def _check_method(
    name: str, builder: Builder, samples: int, accelerator: Accelerator, free: int | None
) -> None:
    config = builder.config
    values: dict[str, Any] = {key: s.default for key, s in settings_of(known_methods()[name]).items()}
    values |= builder.settings.get(name, {})
    width = values.get("embed_dim", 0)
    if queue := values.get("queue_size"):
        _require_queues(name, "queue_size", queue, width, free)
    if name != "crd":
        return
    chosen = any(values[key] is not None for key in ("num_negatives", "objective", "negatives"))
    kind = values["negatives"] or ("uniform" if chosen or samples >= 16384 else "batch")
    if kind == "batch":
        return
    number = values["num_negatives"] or 16384
    if kind == "queue":
        return _require_queues(name, "num_negatives", number, width, free)
    size = 2 if values["memory_dtype"] == "bfloat16" else 4
    if values["bank"] in ("memory", "host") or not kind.startswith("shared"):  # others may lie elsewhere
        require_memory(
            2 * samples * width * size,
            f"crd's memories, {samples} × {width},",
            "lower crd.embed_dim, or take crd.memory_dtype=bfloat16, crd.negatives=batch, or shared "
            "negatives with crd.bank=mapped",
            free=None if values["bank"] == "host" else free,
        )
    batch = ceil(min(config.transfer.train.batch_size, samples) / accelerator.num_processes)
    drawn = 2 * number * width * size if kind.startswith("shared") else batch * number * 8
    if kind != "all":
        require_memory(
            drawn,
            f"{number} negatives of crd for a batch of {batch}",
            "lower crd.num_negatives or the batch size, or take crd.negatives=all",
            free=free,
        )


def _require_queues(name: str, setting: str, number: int, width: int, free: int | None) -> None:
    remedy = f"lower {name}.{setting} or {name}.embed_dim"
    require_memory(2 * number * width * 4, f"{name}'s queues, {number} × {width},", remedy, free=free)


def _check_cache(workspace: Workspace, samples: int, free: int | None) -> None:
    """Compare the cached pixels alone with what is free; the teachers' outputs come on top."""
    config, data = workspace.config.transfer, workspace.builder.data
    if not config.cached_augmentations:
        return
    width = 1 if data.modality == "rgb" else 4
    size = config.cached_augmentations * samples * prod(data.shape(data.modality)) * width
    remedy = "lower transfer.cached-augmentations, or the size of the images"
    on_disk = (config.cache is not None and config.cache_on == "auto") or config.cache_on == "disk"
    if on_disk or size > config.cache_limit * 2**30:
        require_space(config.cache or workspace.stages.cache, size, remedy)
    else:
        what = f"{config.cached_augmentations} cached augmentations of {samples} samples"
        require_memory(size, what, remedy, free=free)


def _free(device: torch.device) -> int | None:
    """Return the free bytes of the device's memory, with what torch holds in reserve; None if unknown."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    return free_memory()
