"""HDF5 files that worker processes of any start method can share, with messages for what is wrong."""

import contextlib
import importlib
import os
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..batch import DataError
from .archives import check_no_page
from .arrays import Array
from .decode import one_thread_in_workers
from .hdf5_values import References, claim, text

SOFT_LINKS = 16
"""Links that may follow one another before they are taken for a loop."""


def open_hdf5(path: Path) -> h5py.File:
    """Open for reading.

    Raises:
        DataError: a file that is missing, locked by a writer, not closed by one, cut short, damaged, or none
            of HDF5, each with a message of its own.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        return h5py.File(path, "r")
    except Exception as error:  # h5py raises many kinds for a damaged header
        raise DataError(f"{path}: {_why_not(path, error)}") from error


def _why_not(path: Path, error: Exception) -> str:
    """What is wrong with a file that did not open, and what to do."""
    told, size = str(error), path.stat().st_size
    if "unable to lock" in told:
        return (
            "this HDF5 file is locked: another program (a notebook?) has it open for writing; close it "
            "there. On a file system without locks set HDF5_USE_FILE_LOCKING=FALSE"
        )
    if "already open for write" in told or "consistency flags" in told:
        return (
            "the program that wrote this HDF5 file has not closed it; wait for its end, or, if it was "
            f"killed, run: h5clear -s {path}"
        )
    if isinstance(error, PermissionError):
        return f"this HDF5 file may not be read ({error})"
    check_no_page(path, f"these {size} bytes; get the file again", expected="an HDF5 file")
    if cut := re.search(r"truncated file: .*stored_eof = (\d+)", told):
        return f"this HDF5 file is cut short: {size} of {cut[1]} bytes are there; get it again"
    if not h5py.is_hdf5(path):
        return f"no HDF5 file: {size} bytes that begin otherwise; is it another file?"
    return f"an HDF5 file of {size} bytes that is damaged ({error}); get it again"


class _LinkOut(Exception):
    """A link into the named file."""


def find_item(file: h5py.File, name: str) -> Any:
    """The group or data set `name`, or None.

    Raises:
        DataError: a link into another file, which is not opened: a file got from others must not read this
            machine's.
    """
    try:
        return _follow(file, name, SOFT_LINKS)
    except _LinkOut as error:
        raise DataError(
            f"{file.filename}: {name} is a link into the file {str(error)!r}, which is not followed; "
            "copy the data into this file (h5copy)"
        ) from error
    except (KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise DataError(f"{file.filename}: {name} cannot be opened ({error}); the file is damaged") from error


def _follow(file: h5py.File, name: str, links: int) -> Any:
    item: Any = file
    for part in name.split("/"):
        if part in ("", "."):
            continue
        link = item.get(part, getlink=True) if isinstance(item, h5py.Group) else None
        if isinstance(link, h5py.ExternalLink):
            raise _LinkOut(link.filename)
        if isinstance(link, h5py.SoftLink) and links:
            base = "" if link.path.startswith("/") else item.name
            item = _follow(file, f"{base}/{link.path}", links - 1)
        else:
            item = item[part] if isinstance(link, h5py.HardLink) else None
        if item is None:
            return None
    return item


def require_dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """The data set `name`. Raises `DataError` that lists what the file has instead, or as `find` and
    `check_readable` do."""
    item = find_item(file, name)
    if not isinstance(item, h5py.Dataset):
        raise DataError(f"{file.filename}: no data set {name!r}; found {list_contents(file)}")
    check_readable(item)
    return item


def check_readable(dataset: h5py.Dataset) -> None:
    """Raise `DataError` if values are kept in other files, or compressed by a filter that is not there."""
    where = f"{dataset.file.filename}: {str(dataset.name).lstrip('/')}"
    layout = dataset.id.get_create_plist()
    if layout.get_external_count() or layout.get_layout() == h5py.h5d.VIRTUAL:
        raise DataError(
            f"{where} has its values in other files (external or virtual storage), which are not read; copy "
            "them into this file (h5repack)"
        )
    for number in range(layout.get_nfilters()):
        code, _, _, label = layout.get_filter(number)
        if not _has_filter(code):
            raise DataError(
                f"{where} is compressed by the filter {code} ({text(label)}), which this h5py has not; "
                "`pip install hdf5plugin` (used if it is there), or write it anew with gzip"
            )


def _has_filter(code: int) -> bool:
    if not h5py.h5z.filter_avail(code):
        with contextlib.suppress(ImportError):
            importlib.import_module("hdf5plugin")
    return bool(h5py.h5z.filter_avail(code))


def list_contents(file: h5py.File) -> str:
    """The data sets of a file with their shapes, for a message."""
    found: list[str] = []

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not text(name).startswith("#"):
            found.append(f"{text(name)} {item.shape}")

    with contextlib.suppress(
        Exception
    ):  # h5py raises many kinds for a damaged file: what was found till then
        file.visititems(note)
    return ", ".join(found) or "nothing"


def is_encoded(dataset: h5py.Dataset) -> bool:
    """Whether a data set is a list of encoded images: (N,) of variable-length uint8."""
    return h5py.check_vlen_dtype(dataset.dtype) == np.uint8 and dataset.ndim == 1


def channels_first(shape: tuple[int, ...]) -> bool:
    """Whether an array of images is (N, C, H, W), not (N, H, W, C): up to 4 channels, and no image is as wide
    as that."""
    return len(shape) == 4 and shape[1] <= 4 < shape[3]


class LazyHDF5:
    """An HDF5 file that opens on first use in each process.

    A handle neither pickles (spawn, forkserver) nor survives a fork, so it is dropped from the state and
    opened again where the process is another.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._datasets: dict[str, tuple[h5py.Dataset, References | None]] = {}
        self._process = -1

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_datasets": {}, "_process": -1}

    def read(self, name: str, row: int) -> Array:
        """Row `row` of the data set `name`. Raises `DataError` that names both where reading fails."""
        if self._process != os.getpid():
            self._datasets, self._process = {}, os.getpid()
            one_thread_in_workers()
        if name not in self._datasets:
            file = next((known.file for known, _ in self._datasets.values()), None) or open_hdf5(self.path)
            dataset = require_dataset(file, name)
            if (problem := claim(dataset, rows=1)) is not None:
                raise DataError(f"{self.path}: a row of {name} {problem}; the file is damaged")
            self._datasets[name] = dataset, References.of(dataset)
        dataset, references = self._datasets[name]
        where = f"{self.path}: {name}[{row}]"
        if references is not None and (problem := references.damage(row)) is not None:
            raise DataError(f"{where} {problem}; the file is damaged")
        try:
            return np.asarray(dataset[row])
        except Exception as error:  # h5py raises many kinds for damaged bytes
            raise DataError(f"{where} cannot be read ({error}); the file is damaged") from error
