"""HDF5 files that worker processes of any start method can share, with messages for damaged ones."""

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..batch import DataError
from .decode import Array, one_thread_in_workers


def open_hdf5(path: Path) -> h5py.File:
    """Open for reading. Raises `DataError` for a missing, truncated or foreign file."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        size = path.stat().st_size
        raise DataError(
            f"{path}: no readable HDF5 file of {size} bytes ({error}); it may be cut short, get it again"
        ) from error


def require(file: h5py.File, name: str) -> h5py.Dataset:
    """The data set `name`. Raises `DataError` that lists what the file has instead."""
    item = file.get(name)
    if not isinstance(item, h5py.Dataset):
        raise DataError(f"{file.filename}: no data set {name!r}; found {contents(file)}")
    return item


def contents(file: h5py.File) -> str:
    """The data sets of a file with their shapes, for a message."""
    found: list[str] = []

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not name.startswith("#"):
            found.append(f"{name} {item.shape}")

    file.visititems(note)
    return ", ".join(found) or "nothing"


class LazyHDF5:
    """An HDF5 file that opens on first use in each process.

    A handle neither pickles (spawn, forkserver) nor survives a fork, so it is dropped from the state and
    opened again where the process is another.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._datasets: dict[str, h5py.Dataset] = {}
        self._process = -1

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_datasets": {}, "_process": -1}

    def read(self, name: str, row: int) -> Array:
        """Row `row` of the data set `name`. Raises `DataError` that names both where reading fails."""
        if self._process != os.getpid():
            self._datasets, self._process = {}, os.getpid()
            one_thread_in_workers()
        if name not in self._datasets:
            file = next((known.file for known in self._datasets.values()), None) or open_hdf5(self.path)
            self._datasets[name] = require(file, name)
        try:
            return np.asarray(self._datasets[name][row])
        except (OSError, ValueError) as error:
            raise DataError(f"{self.path}: {name}[{row}] cannot be read ({error}); it is damaged") from error
