"""Files of kinds that no library writes."""

import struct
from collections.abc import Callable, Sequence

import numpy as np
import pytest


@pytest.fixture(scope="session")
def encode_tiff() -> Callable[..., bytes]:
    """A writer of TIFF in one uncompressed strip, for the kinds that no library writes."""
    return _encode_tiff


@pytest.fixture(scope="session")
def pack_bits() -> Callable[[np.ndarray, int], bytes]:
    """Several pixels a byte, the first in the highest bits; the width must fill whole bytes."""
    return _pack_bits


def _encode_tiff(
    pixels: np.ndarray,
    *,
    bits: int = 0,
    photometric: int = 1,
    extra: Sequence[int] = (),
    palette: Sequence[int] = (),
    big_endian: bool = False,
) -> bytes:
    """`pixels` (H, W[, C]); `bits` below 8 are packed, photometric 0 says that 0 is white, 3 a palette."""
    order = ">" if big_endian else "<"
    height, width, samples = (*pixels.shape, 1)[:3]
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    if 0 < bits < 8:
        data = _pack_bits(pixels, bits)
    sample_format = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    tags: dict[int, tuple[str, list[int]]] = {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [bits or 8 * pixels.itemsize] * samples),
        259: ("H", [1]),
        262: ("H", [photometric]),
        273: ("I", [0]),
        277: ("H", [samples]),
        278: ("I", [height]),
        279: ("I", [len(data)]),
        320: ("H", [*palette]),
        338: ("H", [*extra]),
        339: ("H", [sample_format] * samples),
    }
    tags = {tag: entry for tag, entry in tags.items() if entry[1]}
    place = 8 + 2 + 12 * len(tags) + 4
    long = {tag: struct.pack(f"{order}{len(v)}{code}", *v) for tag, (code, v) in tags.items()}
    tags[273] = ("I", [place + sum(len(raw) for raw in long.values() if len(raw) > 4)])
    directory, behind = struct.pack(f"{order}H", len(tags)), b""
    for tag, (code, values) in tags.items():
        raw = struct.pack(f"{order}{len(values)}{code}", *values)
        directory += struct.pack(f"{order}HHI", tag, {"H": 3, "I": 4}[code], len(values))
        if len(raw) > 4:
            directory += struct.pack(f"{order}I", place + len(behind))
            behind += raw
        else:
            directory += raw.ljust(4, b"\0")
    head = struct.pack(f"{order}2sHI", b"MM" if big_endian else b"II", 42, 8)
    return head + directory + bytes(4) + behind + data


def _pack_bits(pixels: np.ndarray, bits: int) -> bytes:
    per = 8 // bits
    rows = pixels.reshape(len(pixels), -1, per).astype(int)
    packed = sum(rows[..., k] << bits * (per - 1 - k) for k in range(per))
    return np.asarray(packed).astype(np.uint8).tobytes()
