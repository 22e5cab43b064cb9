"""One variable of a MATLAB file of versions 5 to 7; version 7.3 is HDF5."""

import struct
import zlib
from pathlib import Path
from typing import Any

from ..common import UserError
from ..data import DataError

HEADER = 128
NUMBERS = frozenset({1, 2, 3, 4, 5, 6, 7, 9, 12, 13})
"""Types of data that are numbers."""
TEXT = frozenset({16, 17, 18})
MATRIX, COMPRESSED = 14, 15
CELL, STRUCT, OBJECT, CHARACTERS = 1, 2, 3, 4
"""Classes of a matrix; those from 5 on are numbers."""
DEPTH = 16
"""Of matrices in one another."""


def read_variable(path: Path, name: str, again: str) -> Any:
    """The variable, as scipy reads it.

    Args:
        again: what to do about a damaged file.

    Raises:
        DataError: no such file, variable, or a damaged one.
    """
    from scipy.io import loadmat

    try:
        data = path.read_bytes()
        if data[126:128] in (b"IM", b"MI"):
            _check(data[HEADER:], "<" if data[126:128] == b"IM" else ">")
        content = loadmat(path, variable_names=[name])
    except Exception as error:  # scipy raises many kinds for a file that is none of MATLAB's
        raise DataError(f"{path}: no readable MATLAB file ({error}); {again}") from error
    if name not in content:
        raise DataError(f"{path}: no variable {name}")
    return content[name]


def _check(
    data: bytes, order: str, kinds: frozenset[int] = frozenset({MATRIX, COMPRESSED}), depth: int = 0
) -> None:
    """Raise `ValueError` unless elements of these kinds fill the data: of unknown ones scipy reads what lies
    at no address, which ends the process. Source: MATLAB's MAT-file format, version 5."""
    for kind, content in _elements(data, order):
        if kind not in kinds or depth > DEPTH:
            raise UserError(f"an element of kind {kind} where none can be")
        if kind == COMPRESSED:
            _check(zlib.decompress(content), order, frozenset({MATRIX}), depth + 1)
        elif kind == MATRIX and content:
            parts = [*_elements(content, order)]
            if len(parts) < 3 or len(parts[0][1]) < 8:
                raise UserError("a matrix without its size")
            of = struct.unpack(f"{order}I", parts[0][1][:4])[0] & 0xFF
            allowed = {
                CELL: {MATRIX},
                STRUCT: {1, 5, MATRIX},
                OBJECT: {1, 5, MATRIX},
                CHARACTERS: TEXT | NUMBERS,
            }
            for part, inner in parts[3:]:
                if part not in allowed.get(of, NUMBERS):
                    raise UserError(f"data of kind {part} in a matrix of class {of}")
                if part == MATRIX:
                    _check(
                        struct.pack(f"{order}II", part, len(inner)) + inner,
                        order,
                        frozenset({MATRIX}),
                        depth + 1,
                    )


def _elements(data: bytes, order: str) -> list[tuple[int, bytes]]:
    """The kind and the contents of each element."""
    found, place = [], 0
    while place + 8 <= len(data):
        kind, size = struct.unpack(f"{order}II", data[place : place + 8])
        start = place + 8
        if kind >> 16:  # up to 4 bytes, in the element's own head
            kind, size, start = kind & 0xFFFF, kind >> 16, place + 4
            place += 8
        else:
            place = start + (size if kind == COMPRESSED else (size + 7) // 8 * 8)
        if size > len(data) - start:
            raise UserError(f"an element of {size} bytes where {len(data) - start} are left")
        found.append((kind, data[start : start + size]))
    return found
