"""Arrays on disk that are written row by row and read where they lie, so that neither takes their size in
memory."""

import os
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ...common import UserError


class MappedArray:
    """A .npy file as an array: what is indexed comes into memory, the file does not.

    It is mapped anew for each read, which costs a tenth of a millisecond: a mapping that is kept counts every
    page ever read as memory in use, and pickles as all of its contents.

    Args:
        path: a file of `np.save`; one that holds objects is refused with `ValueError`.

    Attributes:
        shape, dtype: of the array.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        mapped = self._map()
        self.shape, self.dtype = mapped.shape, mapped.dtype

    def __len__(self) -> int:
        return int(self.shape[0])

    @property
    def nbytes(self) -> int:
        """Of the whole array."""
        return prod(self.shape) * self.dtype.itemsize

    def __getitem__(self, place: Any) -> NDArray[Any]:
        return np.array(self._map()[place])

    def _map(self) -> NDArray[Any]:
        mapped: NDArray[Any] = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return mapped


class ArrayWriter:
    """Writes a .npy file whose rows come one block after the other; use it in a `with` statement.

    Args:
        path: of the file.
        shape: of the whole array; blocks fill it in C order.
        dtype: of every block.

    Raises:
        ValueError: at the end, if the blocks did not fill the array; for a block of another type.
    """

    def __init__(self, path: str | os.PathLike[str], shape: Sequence[int], dtype: DTypeLike) -> None:
        self.path, self.shape, self.dtype = Path(path), tuple(shape), np.dtype(dtype)
        self.missing = prod(self.shape)
        self._file = self.path.open("wb")
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header | {"shape": self.shape})

    def append(self, block: NDArray[Any]) -> None:
        """Write the next rows."""
        if block.dtype != self.dtype:
            raise UserError(f"{self.path} holds {self.dtype}, got a block of {block.dtype}")
        self.missing -= block.size
        self._file.write(np.ascontiguousarray(block).data)

    def __enter__(self) -> "ArrayWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._file.close()
        if kind is None and self.missing:
            raise UserError(f"{self.path}: {self.missing} numbers of an array {self.shape} are missing")
