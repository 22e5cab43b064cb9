"""One file of a modality, whatever its kind, as an array."""

import os
from pathlib import Path

import numpy as np

from ..batch import DataError
from .arrays import Array, decode_array, is_array
from .decode import decode_image

ARRAY_SUFFIXES = frozenset({".npy", ".npz"})
SUFFIXES = ARRAY_SUFFIXES | {
    ".bmp",
    ".exr",
    ".jpeg",
    ".jpg",
    ".pbm",
    ".pfm",
    ".pgm",
    ".png",
    ".pnm",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
}
"""The endings of files that `load_array` reads, in lower case."""


def read_file(path: str | os.PathLike[str]) -> Array:
    """The bytes of a file, (N,) uint8. Raises `DataError` if it cannot be read or is empty."""
    try:
        buffer = np.fromfile(path, np.uint8)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error})") from error
    if not buffer.size:
        raise DataError(f"{path} is empty (0 bytes)")
    return buffer


def load_array(path: str | os.PathLike[str], *, keep_alpha: bool = False) -> Array:
    """(H, W) or (H, W, C) of a file in its stored type: an image in RGB order, `.npy`, `.npz` of one array.

    What is inside decides, not the ending. OpenEXR is read if OpenCV was built with it.

    Args:
        keep_alpha: keep the fourth channel of an image.

    Raises:
        DataError: a file that is missing, empty, cut, damaged or of another kind, with its path.
    """
    buffer = read_file(path)
    if is_array(buffer):
        array = decode_array(buffer, str(path))
    elif Path(path).suffix.lower() in ARRAY_SUFFIXES:
        raise DataError(f"{path}: {buffer.size} bytes that are no NumPy file; it is damaged or another file")
    else:
        array = decode_image(buffer, str(path), keep_alpha=keep_alpha)
    if array.ndim not in (2, 3) or not array.size:
        raise DataError(f"{path}: shape {array.shape}, expected (height, width[, channels])")
    return array
