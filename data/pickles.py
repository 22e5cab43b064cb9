"""Pickles of plain data: arrays, lists, dicts, bytes, numbers, and nothing that could act."""

import io
import pickle
from typing import Any

import numpy as np

from .batch import DataError
from .images import Array


def load_plain(data: bytes, where: str) -> dict[str, Any]:
    """The dict in a pickle that Python 2 or 3 wrote; keys of bytes become str, values stay.

    A pickle is a program: it may name any function and call it. Only the names that arrays of numbers and
    bytes are made of are known here, and each stands for a recorder of ours: numpy's own would take the
    flags of its types from the file. Any other name ends the reading before it is looked up.

    Args:
        where: the file, for a message.

    Raises:
        DataError: a pickle that names anything else (with that name), that is cut, or holds no dict.
    """
    try:
        content = _PlainUnpickler(io.BytesIO(data), encoding="bytes").load()
        if isinstance(content, dict):
            return {_text(key): v.array() if isinstance(v, _Array) else v for key, v in content.items()}
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    except Exception as error:  # the pickle module promises no kind of error for damaged data
        raise DataError(f"{where}: no readable pickle of {len(data)} bytes ({error!r})") from error
    raise DataError(f"{where}: holds a {type(content).__name__}, expected a dict")


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise DataError(
                f"the pickle names {module}.{name}, which plain data has no need of; nothing of it was run, "
                "do not use this file"
            )
        return _KNOWN[module, name]


class _Type:
    """What a pickle says of an array's type. Python 2 gives the flags as integers."""

    def __init__(self, name: bytes | str, align: int = 0, copy: int = 0) -> None:
        self.name, self.order = _text(name), "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = _text(state[1])

    def dtype(self) -> np.dtype[Any]:
        if self.name[:1] not in tuple("biuf"):
            raise DataError(f"the pickle has an array of {self.name!r}, expected numbers")
        return np.dtype(self.name).newbyteorder(self.order)  # type: ignore[arg-type]


class _Array:
    """What a pickle says of an array: its version, shape, type, whether columns come first, and bytes."""

    state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def array(self) -> Array:
        _, shape, kind, by_columns, data = self.state
        return np.frombuffer(data, kind.dtype()).reshape(shape, order="F" if by_columns else "C")


def _reconstruct(kind: type, shape: tuple[int, ...], code: bytes) -> _Array:
    """An empty array, which the pickle then fills."""
    return _Array()


def _encode(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes for Python 2."""
    return text.encode("latin1")


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


_KNOWN = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encode,
}
