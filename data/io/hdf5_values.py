"""Values out of HDF5 files: what they claim is compared with what the file can have before any is read."""

import os
from dataclasses import dataclass
from math import prod
from typing import Any

import h5py
import numpy as np

from ..batch import DataError
from .arrays import Array

MOST_FOLD = 1032
"""What deflate can make of a byte."""
REFERENCE = np.dtype([("length", "<u4"), ("heap", "<u8"), ("object", "<u4")])
"""What a data set of variable lengths has for a row: the values lie in a global heap of the file."""
HEADER = 16
"""Bytes before a global heap, and before each object in it."""


def read_dataset(dataset: h5py.Dataset) -> Array:
    """All of a data set. `DataError` if it is damaged, or claims more than its file can have."""
    where = f"{dataset.file.filename}: {str(dataset.name).lstrip('/')}"
    problem = claim(dataset)
    if problem is None and (references := References.of(dataset)) is not None:
        problem = references.damage()
    if problem is not None:
        raise DataError(f"{where} {problem}; the file is damaged")
    try:
        return np.asarray(dataset[()])
    except Exception as error:  # h5py raises many kinds for damaged bytes
        raise DataError(f"{where} cannot be read ({error}); the file is damaged") from error


def attribute(item: h5py.File | h5py.Dataset, name: str) -> Any:
    """An attribute of a file or data set; None if it has none of that name. `DataError` if it is damaged."""
    try:
        if name not in item.attrs:
            return None
        return item.attrs[name]
    except Exception as error:  # as above
        raise DataError(f"{_attribute(item, name)} cannot be read ({error}); the file is damaged") from error


def read_number(item: h5py.Dataset, name: str) -> float | None:
    """An attribute that is one number; None without it. `DataError` if it is another thing."""
    if (value := attribute(item, name)) is None:
        return None
    found = np.asarray(value)
    if found.size != 1 or found.dtype.kind not in "iuf" or not np.isfinite(found).all():
        raise DataError(f"{_attribute(item, name)} is {str(value)[:40]!r}, expected a number")
    return float(found.item())


def read_names(item: h5py.File | h5py.Dataset, name: str) -> tuple[str, ...]:
    """An attribute that lists names; () without it. `DataError` if it is another thing."""
    values = attribute(item, name)
    if values is not None and not all(isinstance(value, str | bytes) for value in np.ravel(values)):
        raise DataError(f"{_attribute(item, name)} is {str(values)[:40]!r}, expected names")
    return texts(values)


def texts(values: Any) -> tuple[str, ...]:
    """Names in an attribute or data set, stored as text or as bytes (UTF-8, else Latin-1); none for None."""
    if values is None or isinstance(values, h5py.Empty):
        return ()
    return tuple(text(value) for value in np.ravel(np.asarray(values, object)))


def text(value: Any) -> str:
    """Text, or bytes as text."""
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin1")


def claim(dataset: h5py.Dataset, *, rows: int | None = None) -> str | None:
    """What is wrong with the size of a data set, or of so many of its rows: it would all be allocated."""
    shape = dataset.shape or ()
    shape = shape if rows is None else (rows, *shape[1:])
    claimed, size = prod(shape) * dataset.dtype.itemsize, dataset.file.id.get_filesize()
    if claimed > MOST_FOLD * size:
        return f"claims {claimed} bytes of a file of {size}"
    return None


@dataclass(frozen=True)
class References:
    """Where a data set of variable lengths says that its values lie, in a global heap of the file.

    The library allocates any length before it looks, and may search a damaged heap for ever. Source: HDF5's
    file format specification, III.E.
    """

    path: str
    start: int
    """Of the references, in the file."""
    count: int
    base: int
    """What addresses count from."""

    @classmethod
    def of(cls, dataset: h5py.Dataset) -> "References | None":
        """None if there are none, or they lie in chunks, which are left to the library."""
        variable = h5py.check_vlen_dtype(dataset.dtype) or h5py.check_string_dtype(dataset.dtype)
        start = dataset.id.get_offset() if variable and dataset.dtype.kind == "O" and dataset.size else None
        if start is None or dataset.id.get_storage_size() != dataset.size * REFERENCE.itemsize:
            return None
        return cls(dataset.file.filename, start, dataset.size, dataset.file.userblock_size)

    def damage(self, row: int | None = None) -> str | None:
        """What is wrong with them, or with that of one row."""
        first, rows = (0, self.count) if row is None else (row % self.count, 1)
        with open(self.path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            stored = os.pread(
                file.fileno(), rows * REFERENCE.itemsize, self.start + first * REFERENCE.itemsize
            )
            references = np.frombuffer(stored, REFERENCE)
            if len(references) < rows or int(references["length"].max()) > size:
                return "has a length beyond the file"
            for heap in set(references["heap"][references["length"] > 0].tolist()):
                if not _is_whole(file.fileno(), self.base + heap, size):
                    return f"has its values in a damaged heap (at {self.base + heap})"
        return None


def _is_whole(file: int, heap: int, size: int) -> bool:
    """Whether the objects of a global heap follow one another to its end."""
    head = os.pread(file, HEADER, heap) if heap < size else b""
    length = int.from_bytes(head[8:16], "little")
    place = HEADER
    if not head.startswith(b"GCOL") or heap + length > size:
        return False
    while place + HEADER <= length:
        head = os.pread(file, HEADER, heap + place)
        held = int.from_bytes(head[8:16], "little")
        if not int.from_bytes(head[:2], "little"):  # what is free, to the end; its own header counts
            return place + held == length
        place += HEADER + (held + 7) // 8 * 8
    return place <= length


def _attribute(item: h5py.File | h5py.Dataset, name: str) -> str:
    place = str(item.name).lstrip("/")
    return f"{item.file.filename}: the attribute {name} of {place or 'the file'}"
