"""What a run takes, from its numbers alone: compared with what is free before anything is made."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, prod
from typing import TYPE_CHECKING

from torch import Tensor

from ...common import UserError, free_memory, require_memory, require_space, used_disk
from ...distillers import DataSize, MethodPart, parse_method
from ...engine import Task, TrainConfig
from ...transfer import TransferTask

if TYPE_CHECKING:
    from ..base import Pipeline

CHECKPOINTS = 3
"""Of a training that runs: two are kept while the third is written."""


def check_fit(pipeline: Pipeline) -> None:
    """Compare the memories of the methods, their draws and the cached pixels with what is free.

    Raises:
        ValueError: one sample to train on; more memory than is free, with both figures and what to lower.
        OutputError: more disk than is free, likewise.
    """
    samples = len(pipeline.data.dataset)
    if samples < 2:
        raise UserError(f"at least two samples are needed to train on, got {samples}")
    for method in pipeline.config.method:
        for part in parse_method(method, pipeline.settings).parts:
            _check_part(pipeline, part, samples)
    _check_cache(pipeline, samples)


def require_disk(pipeline: Pipeline, size: int) -> None:
    """Raise `OutputError` if all stages together need more disk than is free, or taken by them already."""
    folder = pipeline.stages.folder
    remedy = "all stages of the run together take that; --keep none, another --output or smaller networks"
    require_space(folder, max(0, size - used_disk(folder)), remedy)


def disk_of(task: Task, train: TrainConfig, keep: str) -> tuple[int, int]:
    """Bytes that a training leaves, and those of its checkpoints while it runs."""
    whole = kept = bytes_of(task.module.state_dict())
    if isinstance(task, TransferTask):  # the student has a file of its own, and the heads may stay
        student = bytes_of(task.student.state_dict())
        kept = student if keep != "all" else kept + student
        kept *= 1 if task.average is None else 2
    memory = 0 if task.memory is None else bytes_of(task.memory.state_dict())
    slots = 2 if train.optimizer == "adamw" else int(train.momentum > 0)
    slots += task.average is not None
    return kept, CHECKPOINTS * (whole * (1 + slots) + memory)


def bytes_of(state: Mapping[str, Tensor]) -> int:
    """Of all tensors together."""
    return sum(value.numel() * value.element_size() for value in state.values())


def alike(pipeline: Pipeline, what: str) -> int:
    """How many teachers are trained that are of one kind with the one that a rehearsal names."""
    config = pipeline.config.teacher
    trained = [n for n in range(len(config)) if config.trains(n)]
    kinds = {n: (config.architecture_of(n), config.modality_of(n)) for n in trained}
    return next(
        (list(kinds.values()).count(kind) for n, kind in kinds.items() if what == f"teacher {kind[0]}-{n}"), 1
    )


def _check_part(pipeline: Pipeline, part: MethodPart, samples: int) -> None:
    """The figures are lower bounds: what fits here may still fail, what is refused could not have worked."""
    data, free = pipeline.data, _free(pipeline)
    batch = ceil(min(pipeline.config.transfer.train.batch_size, samples) / pipeline.accelerator.num_processes)
    has_labels = data.labels is not None and data.labels.ndim == 1
    estimate = part.estimate(DataSize(samples, batch, has_labels, data.groups is not None))
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


def _check_cache(pipeline: Pipeline, samples: int) -> None:
    """The cached pixels alone; the teachers' outputs come on top."""
    config = pipeline.config.transfer
    if not config.cached_augmentations:
        return
    width = 1 if pipeline.data.modality == "rgb" else 4
    size = config.cached_augmentations * samples * prod(pipeline.data.shape(pipeline.data.modality)) * width
    remedy = "lower transfer.cached-augmentations, or the size of the images"
    on_disk = (config.cache is not None and config.cache_on == "auto") or config.cache_on == "disk"
    if on_disk or size > config.cache_limit * 2**30:
        require_space(config.cache or pipeline.stages.cache, size, remedy)
    else:
        what = f"{config.cached_augmentations} cached augmentations of {samples} samples"
        require_memory(size, what, remedy, free=_free(pipeline))


def _free(pipeline: Pipeline) -> int | None:
    """Bytes of the device's memory, with what torch keeps for later; None for no figure."""
    import torch

    device = pipeline.accelerator.device
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    return free_memory()
