"""Tensors in files, whole or absent, and the folder that they go to."""

import contextlib
import re
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ..common import atomically
from ..data import digest as digest
from .errors import NonFiniteError, OutputError, TaskError

WRITE_ERRORS = (OSError, SafetensorError)
_OF_A_RANK = re.compile(r"_of_rank_(\d+)_of_(\d+)$")


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors as safetensors, atomically. `NonFiniteError` for NaN or infinity in one."""
    require_finite(tensors, path.name)
    with atomically(path) as made:
        safetensors.torch.save_file(_separate(tensors), made)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU. The format holds no code, so none can run."""
    return safetensors.torch.load_file(path)


def tensors_of(module: nn.Module | None, name: str) -> dict[str, Tensor]:
    """A module's state dict; {} for None. `TaskError` for an entry that is no tensor."""
    state = {} if module is None else module.state_dict()
    for key, value in state.items():
        if not isinstance(value, Tensor):
            raise TaskError(
                f"{name}.{key} in the state dict is a {type(value).__name__}; only tensors can be saved"
            )
    return state


def split_by_rank(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors that all ranks hold alike, and those of one rank alone: `rows_of_rank_R_of_W`."""
    alone = {name: x for name, x in tensors.items() if _OF_A_RANK.search(name)}
    return {name: x for name, x in tensors.items() if name not in alone}, alone


def require_finite(tensors: dict[str, Tensor], place: str) -> None:
    """Raise `NonFiniteError` naming the first tensor with NaN or infinity in it."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            count = int((~torch.isfinite(tensor)).sum())
            raise NonFiniteError(
                f"{place} is not saved: {name} has {count} of {tensor.numel()} values NaN or infinite"
            )


def prepare_folder(folder: Path, required: int) -> None:
    """Create the run folder and find out before the training whether it can be written.

    Args:
        required: bytes that the training will have to write at the least.

    Raises:
        OutputError: not a folder, not writable, or too little space.
    """
    probe = folder / f".tmp-probe-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"0")
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    if free < required:
        raise OutputError(
            f"{folder} has {free / 2**20:.0f} MiB free; the checkpoints need {required / 2**20:.0f} MiB"
        )


def _separate(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU, contiguous, each with storage of its own: safetensors refuses tied weights."""
    separate, seen = {}, set()
    for name, tensor in tensors.items():
        copy = tensor.detach().cpu().contiguous()
        storage = copy.untyped_storage().data_ptr()
        separate[name] = copy.clone() if storage in seen else copy
        seen.add(storage)
    return separate
