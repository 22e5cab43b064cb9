"""Arrays too large for memory, in an HDF5 file with a manifest: written once, then read by mapping."""

import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .batch import DataError
from .hdf5 import open_hdf5, require
from .images import Array

MANIFEST = "manifest"


def write_mapped(
    path: str | os.PathLike[str],
    manifest: Mapping[str, Any],
    length: int,
    blocks: Iterable[Mapping[str, Array]],
) -> None:
    """Write arrays block by block, the whole file or none of it.

    Args:
        path: of the file; its folder is made.
        manifest: what the arrays are of, JSON values; kept in the file.
        length: rows of every array.
        blocks: the arrays' rows in order, the same names in each block.

    Raises:
        ValueError: blocks that have more or fewer rows.
        OSError: the file cannot be written; nothing is left of it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".tmp-{path.name}-{uuid.uuid4().hex[:8]}")
    digests: dict[str, Any] = {}
    done = 0
    try:
        with h5py.File(part, "w") as file:
            for block in blocks:
                stop = done + len(next(iter(block.values())))
                for name, rows in block.items():
                    if name not in file:
                        # Neither chunks nor compression: the bytes lie in one piece, to be mapped.
                        file.create_dataset(name, (length, *rows.shape[1:]), rows.dtype)
                        digests[name] = hashlib.sha256()
                    if len(rows) != stop - done or stop > length:
                        raise ValueError(f"{name}: rows {done} … {done + len(rows)} of {length} do not fit")
                    file[name][done:stop] = rows
                    digests[name].update(np.ascontiguousarray(rows).data)
                done = stop
            if done != length:
                raise ValueError(f"the blocks end after {done} of {length} rows")
            for name, digest in digests.items():
                file[name].attrs["sha256"] = digest.hexdigest()
            file.attrs[MANIFEST] = json.dumps(manifest, sort_keys=True)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read_manifest(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `write_mapped` was given. `DataError` for another file."""
    with open_hdf5(Path(path)) as file:
        if MANIFEST not in file.attrs:
            raise DataError(f"{path}: no {MANIFEST} in it; it is no file of this kind")
        manifest: dict[str, Any] = json.loads(file.attrs[MANIFEST])
    return manifest


def read_mapped(path: str | os.PathLike[str], *, verify: bool = True) -> dict[str, Array]:
    """The arrays of a file, mapped: what is indexed is read, the rest stays on disk.

    Args:
        path: of a file that `write_mapped` wrote.
        verify: read all once and compare with the digests that were taken on writing.

    Raises:
        DataError: missing, cut or damaged; the array is named.
    """
    path = Path(path)
    read_manifest(path)
    arrays: dict[str, Array] = {}
    with open_hdf5(path) as file:
        for name in file:
            stored = require(file, name)
            arrays[name] = np.memmap(path, stored.dtype, "r", stored.id.get_offset(), stored.shape)
            if verify and hashlib.sha256(arrays[name].data).hexdigest() != stored.attrs.get("sha256"):
                raise DataError(f"{path}: {name} is damaged, its SHA-256 is another; delete the file")
    return arrays
