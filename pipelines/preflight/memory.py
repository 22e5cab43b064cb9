"""What a run takes, computed from its numbers and compared with what is free before anything is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, prod

import torch
from torch import Tensor

from ...common import UserError, free_memory, require_memory, require_space
from ...distillers import DataSize, MethodPart
from ...engine import Task, TrainConfig
from ...transfer import TransferTask
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
    config, data, accelerator = workspace.config, workspace.builder.data, workspace.accelerator
    samples = len(data.dataset)
    if samples < 2:
        raise UserError(f"at least two samples are needed to train on, got {samples}")
    free = _free(accelerator.device)
    batch = ceil(min(config.transfer.train.batch_size, samples) / accelerator.num_processes)
    for method in dict.fromkeys(training.method for training in trainings if training.run is not None):
        for part in config.parse(method).parts:
            _check_part(part, data.size_for(batch), free)
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


def _check_part(part: MethodPart, size: DataSize, free: int | None) -> None:
    estimate = part.estimate(size)
    if estimate.state_what and estimate.state_place != "other":
        require_memory(
            estimate.state_bytes(),
            f"{part.name}'s {estimate.state_what},",
            estimate.state_remedy,
            free=None if estimate.state_place == "host" else free,
        )
    if estimate.batch:
        require_memory(
            estimate.batch, f"{part.name}'s {estimate.batch_what}", estimate.batch_remedy, free=free
        )


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
