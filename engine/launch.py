"""The accelerator of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, ProjectConfiguration


def make_accelerator(
    *,
    precision: Literal["no", "bf16", "fp16"] = "no",
    cpu: bool = False,
    trackers: Sequence[str] = (),
    folder: Path | None = None,
    project: str = "crdkit",
) -> Accelerator:
    """Device, processes, precision and trackers, as `accelerate launch` and the arguments say.

    Args:
        precision: of the networks' forward passes.
        cpu: stay on the CPU even where there is a GPU.
        trackers: names that accelerate knows, such as "tensorboard" or "wandb".
        folder: where trackers that write files put them.
        project: the name that trackers file the run under.
    """
    accelerator = Accelerator(
        mixed_precision=precision,
        cpu=cpu,
        log_with=list(trackers) or None,
        project_config=ProjectConfiguration(project_dir=None if folder is None else str(folder)),
        # A transfer term may leave a layer of the student without a gradient.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    if trackers:
        accelerator.init_trackers(project)
    return accelerator
