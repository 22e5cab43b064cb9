"""What the benchmarks that write packed files share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import h5py
    import numpy as np


def copy_rows(values: h5py.Dataset, rows: np.ndarray, made: h5py.File, name: str) -> None:
    """Some rows of a data set as one of another file; encoded images, too, which have different lengths."""
    copy = made.create_dataset(name, (len(rows),), values.dtype)
    copy.attrs.update(values.attrs)
    for place, row in enumerate(rows):
        copy[place] = values[row]
