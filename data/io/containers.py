"""Image files that OpenCV reads otherwise than they are stored: PNM, PFM and some TIFF."""

import io
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin

from ...common import UserError
from ..batch import DataError
from .arrays import Array

GAP = rb"(?:\s|#[^\n]*\n)+"
PORTABLE = re.compile(rb"P([1-6fF])" + 2 * (GAP + rb"(\d+)"))
LAST_FIELD = re.compile(GAP + rb"([-+.\deE]+)")
LOSSY_TIFF = frozenset({6, 7, 33003, 33005, 34712, 34892, 34927, 50001, 50002})
"""Compressions that may change values: JPEG, JPEG 2000, WebP, JPEG XL."""
PALETTE, MIN_IS_WHITE, RGB = 3, 0, 2
"""Photometric interpretations of a TIFF."""
SEPARATE_ALPHA = 2
"""Of `TiffLayout.extra`: a fourth sample that the colors are not multiplied by."""


def is_portable(buffer: Array) -> bool:
    """Whether bytes (N,) uint8 begin as PBM, PGM, PPM or PFM."""
    return PORTABLE.match(buffer[:4096].tobytes()) is not None


def decode_portable(buffer: Array, where: str) -> Array:
    """PBM, PGM, PPM, binary or text, or PFM to (H, W) or (H, W, 3) in RGB order, numbers as stored.

    OpenCV stretches gray text to 0–255 and divides a PFM by its scale, of which readers of disparity take
    only the sign. A PBM's bits are 0 and 1, and 1 is black. Source: netpbm's pages of the formats.

    Raises:
        DataError: fewer pixels than the header says, no number where one should be.
    """
    data = buffer.tobytes()
    header = PORTABLE.match(data)
    assert header is not None
    kind, (width, height), place = header[1], map(int, header.groups()[1:]), header.end()
    scale = b"1"
    if kind not in b"14":
        last = LAST_FIELD.match(data, place)
        if last is None:
            raise DataError(f"{where}: no largest value in the header; the file is damaged")
        scale, place = last[1], last.end()
    shape = (height, width, 3) if kind in b"36F" else (height, width)
    try:
        numbers = _numbers(kind, data[place:], shape, float(scale))
        return np.ascontiguousarray(numbers.reshape(shape)[:: -1 if kind in b"fF" else 1])
    except (ValueError, OverflowError) as error:
        raise DataError(
            f"{where}: {len(data)} bytes are no {height}×{width} image in netpbm's format P{kind.decode()}; "
            "the file is cut short or damaged"
        ) from error


def _numbers(kind: bytes, body: bytes, shape: tuple[int, ...], scale: float) -> Array:
    """The pixels in the order of the file. `ValueError` if they are too few or no numbers."""
    count = int(np.prod(shape, dtype=object))
    stored = np.dtype(np.uint8 if scale < 256 else np.uint16)
    if kind in b"123":
        body = re.sub(rb"#[^\n]*", b"", body)
        words = re.findall(rb"[01]", body) if kind == b"1" else body.split()
        numbers = np.array(words[:count], int)
        if numbers.size and not 0 <= numbers.min() <= numbers.max() <= scale:
            raise UserError("a number outside the range")
        return numbers.astype(stored)
    if kind == b"4":
        height, width = shape
        rows = np.frombuffer(body, np.uint8, height * ((width + 7) // 8), 1)
        return np.unpackbits(rows.reshape(height, -1), axis=1)[:, :width]
    if kind in b"fF":
        order = "<f4" if scale < 0 else ">f4"
        return np.frombuffer(body, order, count, 1).astype(np.float32)
    return np.frombuffer(body, stored.newbyteorder(">"), count, 1).astype(stored)


@dataclass(frozen=True)
class TiffLayout:
    """What the first image of a TIFF says of its pixels."""

    samples: int
    """Numbers a pixel."""
    bits: int
    """Of each."""
    photometric: int
    extra: int
    """What the first number beyond color is: 0 unknown, 1 alpha that colors were multiplied by, 2 alpha."""
    compression: int
    floating: bool

    def __str__(self) -> str:
        return f"{self.samples} × {self.bits} bits{' (floating)' if self.floating else ''} a pixel"


def tiff_layout(buffer: Array) -> TiffLayout | None:
    """Of bytes (N,) uint8; None unless they are a TIFF whose first directory can be read."""
    head = buffer[:16].tobytes()
    if head[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return None
    stream = io.BytesIO(buffer.tobytes())
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(head if b"+" in head[2:4] else head[:8])
        stream.seek(tags.next)
        tags.load(stream)
        return TiffLayout(
            samples=int(tags.get(277, 1)),
            bits=int(_first(tags.get(258, 1))),
            photometric=int(tags.get(262, 1)),
            extra=int(_first(tags.get(338, 0))),
            compression=int(tags.get(259, 1)),
            floating=_first(tags.get(339, 1)) == 3,
        )
    except Exception:  # Pillow raises many kinds for a damaged directory; OpenCV will refuse it
        return None


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and value else value


def has_multiplied_colors(layout: TiffLayout | None) -> bool:
    """Whether OpenCV would multiply the colors of this TIFF by its fourth sample."""
    return layout is not None and (layout.samples, layout.bits, layout.photometric, layout.extra) == (
        4,
        8,
        RGB,
        SEPARATE_ALPHA,
    )


def read_with_pillow(buffer: Array) -> Array:
    """An image's numbers as Pillow has them. Raises whatever Pillow does for a damaged file."""
    with Image.open(io.BytesIO(buffer.tobytes())) as image:
        return np.array(image)
