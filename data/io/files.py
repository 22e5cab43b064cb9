"""One file to the array that it holds."""

from pathlib import Path

import numpy as np

from ..batch import DataError
from .decode import Array, decode


def load_array(path: Path, *, keep_alpha: bool = False) -> Array:
    """The picture (H, W[, C]) of an image file, a `.npy` or a `.npz` with one array."""
    if path.suffix.lower() in (".npy", ".npz"):
        try:
            loaded = np.load(path, allow_pickle=False)
            array = loaded[loaded.files[0]] if path.suffix.lower() == ".npz" else loaded
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: no readable array ({error})") from error
    else:
        array = decode(np.fromfile(path, np.uint8), str(path), keep_alpha=keep_alpha)
    if array.ndim not in (2, 3) or not array.size:
        raise DataError(f"{path}: shape {array.shape}, expected (height, width[, channels])")
    return np.asarray(array)
