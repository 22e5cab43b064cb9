"""Label maps as the numbers that a file stores, not as the colors that a viewer shows."""

import io

import numpy as np
from PIL import Image

from ..batch import DataError
from .arrays import Array, decode_array, is_array
from .containers import (
    LOSSY_TIFF,
    MIN_IS_WHITE,
    PALETTE,
    TiffLayout,
    decode_portable,
    is_portable,
    tiff_layout,
)
from .decode import decode_image
from .headers import check_claim

LOSSY = {"AVIF": "AVIF", "JPEG": "JPEG", "JPEG2000": "JPEG 2000", "MPO": "JPEG", "WEBP": "WebP"}
"""Pillow's names of formats that change values at the borders of classes; a lossless WebP has only colors."""
GRAY = frozenset({"1", "L", "P", "I", "I;16", "I;16B", "I;16L", "I;16N", "F"})
"""Pillow's modes of one stored number a pixel."""


def decode_label(buffer: Array, where: str) -> Array:
    """Encoded bytes to (H, W) integers as they are stored: palette indices, and 1, 2 or 4 bits unstretched.

    PNG, TIFF, BMP, GIF, PGM and PBM (whose bit 1 is black), `.npy` and `.npz` of one array. A TIFF or PNG in
    which 0 is white is not inverted.

    Raises:
        DataError: a lossy format (by its name), colors, several frames, floating numbers; bytes that are
            damaged or no such file.
    """
    label = _numbers(buffer, where)
    if label.ndim == 3 and label.shape[2] == 1:
        label = label[..., 0]
    if label.ndim != 2:
        raise _no_map(f"of shape {label.shape}", where)
    if label.dtype == bool:
        label = label.astype(np.uint8)
    if label.dtype.kind not in "iu":
        raise DataError(f"{where}: labels of {label.dtype}, expected integers; save class numbers as such")
    return np.ascontiguousarray(label)


def _numbers(buffer: Array, where: str) -> Array:
    if is_array(buffer):
        return decode_array(buffer, where)
    if is_portable(buffer):
        return decode_portable(buffer, where)
    check_claim(buffer, where)
    layout = tiff_layout(buffer)
    if layout is not None and layout.compression in LOSSY_TIFF:
        raise _lossy("a TIFF compressed as JPEG or alike", where)
    if layout is not None and layout.bits >= 8 and layout.photometric not in (PALETTE, MIN_IS_WHITE):
        return decode_image(buffer, where)  # of more types than Pillow has: 8 to 64 bits, signed or not
    return _with_pillow(buffer, layout, where)


def _with_pillow(buffer: Array, layout: TiffLayout | None, where: str) -> Array:
    try:
        with Image.open(io.BytesIO(buffer.tobytes())) as image:
            kind, mode, frames = image.format, image.mode, 1 if layout else getattr(image, "n_frames", 1)
            label = np.array(image) if mode in GRAY and kind not in LOSSY else np.empty(0)
    except Image.DecompressionBombError as error:
        raise DataError(f"{where}: {error}; if it is yours, set PIL.Image.MAX_IMAGE_PIXELS = None") from error
    except Exception as error:  # Pillow raises many kinds for a damaged file
        raise DataError(
            f"{where}: {buffer.size} bytes that do not decode as an image ({error}); the file is damaged, or "
            "of a kind that is not read: save the labels as PNG"
        ) from error
    if kind in LOSSY:
        raise _lossy(f"a {LOSSY[kind]}", where)
    if mode not in GRAY:
        raise _no_map(f"in colors ({mode})", where)
    if frames > 1:
        raise DataError(f"{where}: {frames} frames, expected one label map; save them as single PNG files")
    if mode == "L" and (bits := layout.bits if layout else _png_bits(buffer)) < 8:
        label = label // (255 // (2**bits - 1))  # Pillow stretches gray, as viewers do
    else:
        bits = 1 if mode == "1" else 8
    if layout is not None and layout.photometric == MIN_IS_WHITE and mode in ("1", "L"):
        label = 2**bits - 1 - label.astype(np.uint8)  # Pillow turns it over
    return label


def _png_bits(buffer: Array) -> int:
    """Bits a pixel of a PNG, from its header; 8 for other files."""
    return int(buffer[24]) if buffer[:4].tobytes() == b"\x89PNG" else 8


def _lossy(kind: str, where: str) -> DataError:
    return DataError(
        f"{where} is {kind}, which changes the numbers at the borders of classes; make the labels anew from "
        "their source, as PNG"
    )


def _no_map(what: str, where: str) -> DataError:
    return DataError(
        f"{where}: a label map {what}, expected one class number a pixel; if colors stand for classes, save "
        "the numbers (or a palette PNG), if the channels are equal, one of them"
    )
