"""Arrays (V, N, …) that are made block by block: in a device's memory, or in a folder of mapped files."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..common import Artifact, ManifestError, UserError
from ..data import ArrayWriter, MappedArray

Store = Mapping[str, Any]
"""Arrays by name, each (V, N, …) but for `label` (N,): tensors on a device, or maps of files."""

Blocks = Iterator[dict[str, Tensor]]
"""The rows of all arrays in order, pass after pass over the N samples, V of them."""

Shapes = Mapping[str, tuple[int, ...]]


def digest_of(value: Any) -> str:
    """A short name for JSON values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def fill_memory(shapes: Shapes, blocks: Iterable[dict[str, Tensor]]) -> Store:
    """The arrays as tensors, on the device that the blocks are on."""
    store: dict[str, Tensor] = {}
    for name, place, value in _placed(shapes, blocks):
        if name not in store:
            store[name] = torch.empty(shapes[name], dtype=value.dtype, device=value.device)
        store[name][place] = value
    return store


def write_folder(
    folder: Path, fingerprint: Mapping[str, Any], shapes: Shapes, blocks: Iterable[dict[str, Tensor]]
) -> None:
    """The arrays as a folder of .npy files with a manifest, all of it or nothing; one that another run has
    made meanwhile stays."""
    with Artifact.write(folder, fingerprint, exist_ok=True) as made, ExitStack() as stack:
        writers: dict[str, ArrayWriter] = {}
        for name, _, value in _placed(shapes, blocks):
            rows = value.cpu().numpy()
            if name not in writers:
                writer = ArrayWriter(made / f"{name}.npy", shapes[name], rows.dtype)
                writers[name] = stack.enter_context(writer)
            writers[name].append(rows)


def open_folder(folder: Path, fingerprint: Mapping[str, Any]) -> Store | None:
    """The arrays of a folder, mapped; None if there is no such folder.

    Raises:
        ManifestError: a file is missing or damaged; it is named.
        ResumeError: it was made from something else.
    """
    if not folder.exists():
        return None
    try:
        artifact = Artifact.open(folder, fingerprint)
    except ManifestError as error:
        raise ManifestError(f"{error}; delete {folder} to make the cache again") from error
    return {name.removesuffix(".npy"): MappedArray(folder / name) for name in artifact.files}


def _placed(shapes: Shapes, blocks: Iterable[dict[str, Tensor]]) -> Iterator[tuple[str, Any, Tensor]]:
    """(array, where in it, values) of every block; `label` is taken from the first pass alone."""
    number, length = next(shape[:2] for name, shape in shapes.items() if name != "label")
    v, row = 0, 0
    for block in blocks:
        stop = row + len(next(iter(block.values())))
        for name, value in block.items():
            if name != "label":
                yield name, (v, slice(row, stop)), value
            elif v == 0:
                yield name, slice(row, stop), value
        v, row = (v + 1, 0) if stop == length else (v, stop)
    if (v, row) != (number, 0):
        raise UserError(f"the blocks end after {v} of {number} passes and {row} rows")
