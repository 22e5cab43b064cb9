"""Packed images with one label each."""

import os
from collections.abc import Iterator
from pathlib import Path

import h5py
import torch

from ..batch import DataError
from ..in_memory import PairedTensors
from ..io.decode import Array, Size, check_size, decode_color, stack_color
from ..io.hdf5 import contents, open_hdf5, require
from ..labels import Classes, check_labels, select_classes


class PackedImages(PairedTensors):
    """Images and labels from an HDF5 file, decoded into memory once, as `rgb` (N, 3, H, W) uint8.

    The file has a group a split with `images` (N,) of variable-length uint8 (JPEG, PNG) and, but for an
    unlabeled split, `labels` (N,) 0-based; the attribute `classes` lists the names. Batches are
    `{"index", "rgb", "label"}` with `label` (B,), and without `label` in an unlabeled split.

    Args:
        path: the file.
        split: the group, such as `train`, `test` or `unlabeled`.
        size: (height, width) to resize to, by area where it shrinks; None for the stored size, which must
            be one.
        classes: the first n classes, or a list of names or numbers; label i is the i-th of them, and `index`
            counts the images that remain, in the order of the file. None for all.

    Raises:
        DataError: a file that does not open, a split that is missing, a damaged image (named), images of
            several sizes, a label out of range.
        ValueError: a class that the file does not name.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        split: str = "train",
        *,
        size: Size | None = None,
        classes: Classes = None,
    ) -> None:
        size = check_size(size)
        with open_hdf5(Path(path)) as file:
            if not isinstance(file.get(split), h5py.Group):
                raise DataError(f"{path}: no split {split!r}; found {contents(file)}")
            names = tuple(str(name) for name in file.attrs.get("classes", ()))
            where = f"{path}: {split}/images"
            buffers = _read_all(require(file, f"{split}/images"), where)
            labels = None
            if "labels" in file[split]:
                stored = require(file, f"{split}/labels")[:]
                labels = check_labels(stored, len(buffers), len(names) or None, f"{path}: {split}/labels")
        rows: Array | range = range(len(buffers))
        if classes is not None:
            if labels is None:
                raise DataError(f"{path}: {split} has no labels to choose classes by")
            rows, labels, names = select_classes(classes, labels, names, str(path))

        def decoded() -> Iterator[tuple[str, Array]]:
            for row in rows:
                yield f"{where}[{row}]", decode_color(buffers[row], f"{where}[{row}]")

        modalities = {"rgb": torch.from_numpy(stack_color(decoded(), len(rows), size))}
        if labels is not None:
            modalities["label"] = torch.from_numpy(labels)
        super().__init__(**modalities)
        self.class_names, self.num_classes = names, len(names) or None


def _read_all(images: h5py.Dataset, where: str) -> Array:
    """The encoded images, (N,) of bytes."""
    if not len(images):
        raise DataError(f"{where} is empty")
    try:
        buffers: Array = images[:]
    except OSError as error:
        raise DataError(f"{where} cannot be read ({error}); the file is damaged") from error
    return buffers
