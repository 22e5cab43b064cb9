"""The accelerator of a run."""

import os
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch.distributed as dist
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedDataParallelKwargs, DistributedType, ProjectConfiguration
from torch import nn
from torch.optim import Optimizer

from .errors import LaunchError
from .peers import Peers
from .precision import fast_precision
from .task import Task

UNSUPPORTED = ("FSDP", "DEEPSPEED", "MEGATRON_LM")
"""Ways to split one model over processes, which the engine's checkpoints and memories do not know."""

SETTLE = 0.5
"""Seconds without the interpreter's lock, in which threads that wait for it get it."""

WISH = "ACCELERATE_MIXED_PRECISION"

SIZES = ("WORLD_SIZE", "SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
"""Variables by which launchers say how many processes there are."""


def make_accelerator(
    *,
    precision: Literal["auto", "no", "bf16", "fp16"] | None = None,
    cpu: bool = False,
    trackers: Sequence[str] = (),
    folder: Path | None = None,
    project: str = "crdkit",
) -> Accelerator:
    """Device, processes, precision and trackers, as `accelerate launch` and the arguments say.

    End it with `end_training`. The process itself stays as it is.

    Args:
        precision: of the networks' forward passes; None for what the launcher says, else fp32; "auto" for
            what the launcher says, else what the machine is fast in (`fast_precision`), which is printed.
        cpu: stay on the CPU even if there is a GPU.
        trackers: names that accelerate knows, such as "tensorboard" or "wandb".
        folder: where trackers that write files put them.
        project: the name that trackers file the run under.

    Raises:
        LaunchError: FSDP, DeepSpeed or Megatron; fp16 on a CPU, which would compute in fp32.
    """
    wish, reason = os.environ.get(WISH), ""
    if precision == "auto":
        precision, reason = _automatic(cpu) if wish in (None, "no") else (None, "")
    accelerator = Accelerator(
        mixed_precision=precision,
        cpu=cpu,
        log_with=list(trackers) or None,
        project_config=ProjectConfiguration(project_dir=None if folder is None else str(folder)),
    )
    kind = accelerator.distributed_type
    if kind in [getattr(DistributedType, name) for name in UNSUPPORTED]:
        raise LaunchError(
            f"{kind.value} is not supported: start the processes without it, such as "
            "`accelerate launch --multi_gpu`"
        )
    if accelerator.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        source = "accelerate's --mixed_precision" if precision is None else "--precision"
        raise LaunchError(f"fp16 needs a GPU: {source} must be no or bf16 on a CPU")
    if reason:
        shown = "fp32" if precision == "no" else precision
        other = "bf16" if precision == "no" else "no"
        accelerator.print(f"computing in {shown}: {reason}; --precision {other} for the other")
    elif precision is not None and wish is not None and wish != precision:
        accelerator.print(f"--precision {precision} takes the place of accelerate's --mixed_precision {wish}")
    elif precision is None and wish not in (None, "no"):
        accelerator.print(f"computing in {wish}, as accelerate's --mixed_precision says")
    if lacking := lacking_processes(accelerator.num_processes):
        accelerator.print(lacking)
    _start_trackers(accelerator, project)
    return accelerator


def lacking_processes(world_size: int) -> str:
    """What to tell if a launcher was asked for more processes than train together; "" if it was not."""
    asked = max((int(size) for name in SIZES if (size := os.environ.get(name, "")).isdigit()), default=1)
    wanted = f"{asked} processes" if asked > world_size else ""
    # Accelerate's launcher without --multi_gpu names a meeting point for several, and starts one.
    if world_size == 1 and {WISH, "MASTER_ADDR", "WORLD_SIZE"} & os.environ.keys() == {WISH, "MASTER_ADDR"}:
        wanted = wanted or "several processes"
    if not wanted:
        return ""
    found = "this one trains alone" if world_size == 1 else f"{world_size} train together"
    return (
        f"the launcher was asked for {wanted}, but {found}: start them by `torchrun --nproc_per_node N …`, "
        "on CPUs as well"
    )


def _start_trackers(accelerator: Accelerator, project: str) -> None:
    """Start each tracker by itself; one that fails is left out, with a warning."""
    asked, started = list(accelerator.log_with), []
    for tracker in asked:
        accelerator.log_with = [tracker]
        with _forgiving(str(tracker), "did not start and is left out"):
            accelerator.init_trackers(project)
            started += accelerator.trackers
    accelerator.log_with, accelerator.trackers = asked, started


def end_training(accelerator: Accelerator) -> None:
    """Finish the trackers and leave the process group; a tracker that fails is a warning.

    Processes of one training call it before they end.
    """
    for tracker in accelerator.trackers:
        with _forgiving(tracker.name, "did not finish"):
            tracker.finish()
    accelerator.trackers = []
    leave_group()
    accelerator.end_training()


@contextmanager
def _forgiving(tracker: str, what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a tracker is other people's code, and may fail in any way
        warnings.warn(f"the tracker {tracker} {what}: {error!r}", stacklevel=3)


def _automatic(cpu: bool) -> tuple[Literal["no", "bf16"], str]:
    """The main process's choice, for all, and its reason."""
    state: Any = PartialState(cpu=cpu)
    own = fast_precision(state.device) if state.is_main_process else ("no", "")
    precision, reason = from_main(state, own)
    return precision, reason


def leave_group() -> None:
    """Destroy the process group, if there is one, after its threads have released what they sent.

    A thread of gloo takes the interpreter's lock to release the tensor of a finished collective; if the
    interpreter ends first, the process aborts.
    """
    if dist.is_available() and dist.is_initialized():
        time.sleep(SETTLE)
        dist.destroy_process_group()


def from_main(accelerator: Accelerator, value: Any) -> Any:
    """The main process's JSON value, on every process; a call that all of them make."""
    return Peers(accelerator, patient=True).broadcast(value)


def prepare(accelerator: Accelerator, task: Task, optimizer: Optimizer) -> tuple[nn.Module, Any]:
    """Move the task's module to the device, with mixed precision and DDP; return it and its optimizer."""
    before = accelerator.ddp_handler
    handler = before or DistributedDataParallelKwargs()
    accelerator.ddp_handler = replace(
        handler, find_unused_parameters=handler.find_unused_parameters or task.may_leave_unused
    )
    try:
        # To infer device_placement, accelerate would import DTensor, in half a second.
        module, prepared = accelerator.prepare(task.module, optimizer, device_placement=[True, True])
    finally:
        accelerator.ddp_handler = before
    return module, prepared


def release(accelerator: Accelerator, module: nn.Module, optimizer: Any) -> None:
    """Give the module its own forward back, and let the accelerator forget what it prepared.

    It would keep every module and optimizer of a process alive, and unscale all of them in fp16.
    """
    accelerator.unwrap_model(module, keep_fp32_wrapper=False)
    for held, own in ((accelerator._models, module), (accelerator._optimizers, optimizer)):
        held[:] = [other for other in held if other is not own]
