"""Arrays (V, N, …) that are made block by block: in a device's memory, or in a folder of mapped files."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..common import (
    ManifestError,
    OutputError,
    ResumeError,
    atomically,
    differences,
    read_manifest,
    write_manifest,
)

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
    """The arrays as a folder of .npy files with a manifest, all of it or nothing."""
    with atomically(folder) as made:
        made.mkdir()
        with ExitStack() as stack:
            maps: dict[str, Any] = {}
            for name, place, value in _placed(shapes, blocks):
                rows = value.cpu().numpy()
                if name not in maps:
                    maps[name] = np.lib.format.open_memmap(
                        made / f"{name}.npy", mode="w+", dtype=rows.dtype, shape=shapes[name]
                    )
                    stack.callback(maps[name].flush)
                maps[name][place] = rows
        write_manifest(made, fingerprint)


def open_folder(folder: Path, fingerprint: Mapping[str, Any]) -> Store | None:
    """The arrays of a folder, mapped; None if there is no such folder.

    Raises:
        ManifestError: a file is missing or damaged; it is named.
        ResumeError: it was made from something else.
    """
    if not folder.exists():
        return None
    try:
        manifest = read_manifest(folder)
    except ManifestError as error:
        raise ManifestError(f"{error}; delete {folder} to make the cache anew") from error
    if lines := differences(manifest.fingerprint, fingerprint):
        raise ResumeError(f"{folder} is a cache of something else: {'; '.join(lines[:8])}")
    return {name.removesuffix(".npy"): open_array(folder / name) for name in manifest.files}


def open_array(path: Path) -> Any:
    """A .npy file, mapped; what is no plain array is refused."""
    return np.load(path, mmap_mode="r", allow_pickle=False)


def require_space(folder: Path, size: int) -> None:
    """Raise `OutputError` if the disk of `folder` has fewer than `size` bytes free."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < size:
        raise OutputError(
            f"the cache needs {size / 2**20:.0f} MiB and {folder} has {free / 2**20:.0f} free: fewer "
            "--transfer.cached-augmentations, --transfer.cache-dtype float16, or another --transfer.cache"
        )


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
        raise ValueError(f"the blocks end after {v} of {number} passes and {row} rows")
