"""What a run takes, from its numbers alone: compared with what is free before anything is made."""

from __future__ import annotations

from math import ceil, prod
from typing import TYPE_CHECKING, Any

from ..common import free_memory, require_memory, require_space
from ..distillers import known_methods, parse_method, settings_of

if TYPE_CHECKING:
    from .pipeline import Pipeline

PUBLISHED = 16384
"""Negatives of `crd`; of fewer samples it takes them from the batch unless a setting says otherwise."""


def check_fit(pipeline: Pipeline) -> None:
    """Compare the memories of the methods, their draws and the cached pixels with what is free.

    Raises:
        ValueError: one sample to train on; more memory than is free, with both figures and what to lower.
        OutputError: more disk than is free, likewise.
    """
    samples = len(pipeline.data.dataset)
    if samples < 2:
        raise ValueError(f"at least two samples are needed to train on, got {samples}")
    for method in pipeline.config.method:
        for name in parse_method(method):
            _check_method(pipeline, name, samples)
    _check_cache(pipeline, samples)


def _check_method(pipeline: Pipeline, name: str, samples: int) -> None:
    """The figures are lower bounds: what fits here may still fail, what is refused could not have worked."""
    config, accelerator = pipeline.config, pipeline.accelerator
    free = _free(pipeline)
    values: dict[str, Any] = {key: s.default for key, s in settings_of(known_methods()[name]).items()}
    values |= pipeline.settings.get(name, {})
    width = values.get("embed_dim", 0)
    if queue := values.get("queue_size"):
        remedy = f"lower {name}.queue_size or {name}.embed_dim"
        require_memory(2 * queue * width * 4, f"{name}'s queues, {queue} × {width},", remedy, free=free)
    if name != "crd":
        return
    chosen = any(values[key] is not None for key in ("num_negatives", "objective", "negatives"))
    kind = values["negatives"] or ("uniform" if chosen or samples >= PUBLISHED else "batch")
    if kind == "batch":
        return
    number = values["num_negatives"] or PUBLISHED
    size = 2 if values["memory_dtype"] == "bfloat16" else 4
    require_memory(
        2 * samples * width * size, f"crd's memories, {samples} × {width},",
        "lower crd.embed_dim, or take crd.memory_dtype=bfloat16 or crd.negatives=batch", free=free,
    )  # fmt: skip
    batch = ceil(min(config.transfer.train.batch_size, samples) / accelerator.num_processes)
    drawn = 2 * number * width * size if kind.startswith("shared") else batch * number * 8
    if kind != "all":
        require_memory(
            drawn, f"{number} negatives of crd for a batch of {batch}",
            "lower crd.num_negatives or the batch size, or take crd.negatives=all", free=free,
        )  # fmt: skip


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
