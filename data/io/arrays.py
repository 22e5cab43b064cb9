"""NumPy's files, `.npy` and `.npz`, out of bytes: nothing is unpickled, nothing beyond the file allocated."""

import io
import math
import zipfile
from typing import Any, TypeAlias

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ..batch import DataError

Array: TypeAlias = NDArray[Any]

NPY = b"\x93NUMPY"
ZIP = (b"PK\x03\x04", b"PK\x05\x06")
HEADER_BYTES = 1 << 16
"""More than NumPy takes for a header."""
READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def is_array(buffer: Array) -> bool:
    """Whether bytes (N,) uint8 are a `.npy` or `.npz` file, by how they begin."""
    return buffer[:6].tobytes().startswith((NPY, *ZIP))


def decode_array(buffer: Array, where: str) -> Array:
    """The array of a `.npy` file, or the one of an `.npz` file, in its stored type and this machine's order.

    Raises:
        DataError: bytes that are cut, claim more than they hold, hold objects, text or records, or several
            arrays (their names are listed).
    """
    return _npy(buffer, where) if buffer[:6].tobytes() == NPY else _npz(buffer, where)


def _npy(buffer: Array, where: str) -> Array:
    head = io.BytesIO(buffer[:HEADER_BYTES].tobytes())
    try:
        shape, fortran, dtype = READERS[npy.read_magic(head)](head)
    except Exception as error:  # a header is Python source: what fails in it may raise anything
        raise DataError(f"{where}: no readable NumPy file ({error}); it is damaged") from error
    if dtype.kind not in "biuf" or dtype.subdtype is not None or min(shape, default=0) < 0:
        raise DataError(
            f"{where}: an array {shape} of {dtype}, expected numbers; it is never unpickled, save it as such"
        )
    start, size = head.tell(), math.prod(shape) * dtype.itemsize
    if buffer.size - start < size:
        raise DataError(
            f"{where}: {buffer.size - start} bytes of the {size} that an array {shape} of {dtype} has; it is "
            "cut short"
        )
    array = buffer[start : start + size].view(dtype).astype(dtype.newbyteorder("="), copy=False)
    return np.asarray(array.reshape(shape, order="F" if fortran else "C"))


def _npz(buffer: Array, where: str) -> Array:
    try:
        with zipfile.ZipFile(io.BytesIO(buffer.tobytes())) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            if len(names) == 1:
                member = np.frombuffer(bytearray(archive.read(archive.namelist()[0])), np.uint8)
    except Exception as error:  # zipfile, zlib and lzma raise kinds of their own
        raise DataError(f"{where}: no readable .npz file ({error}); it is damaged") from error
    if len(names) != 1:
        listed = ", ".join(names[:5]) or "none"
        raise DataError(f"{where} has {len(names)} arrays ({listed}), expected one; save that one as .npy")
    return _npy(member, f"{where}[{names[0]}]")
