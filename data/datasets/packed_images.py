"""Packed images with one label each."""

import os
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import torch

from ..batch import DataError
from ..in_memory import PairedTensors
from ..io.decode import Array, Size, as_color, check_size, decode_color, stack_color
from ..io.hdf5 import channels_first, find_item, is_encoded, list_contents, open_hdf5, require_dataset
from ..io.hdf5_values import read_dataset, read_names
from ..labels import Classes, check_labels, select_classes


class PackedImages(PairedTensors):
    """Images and labels from an HDF5 file, decoded into memory once, as `rgb` (N, 3, H, W) uint8.

    The file has a group a split with `images`: (N,) of variable-length uint8 (JPEG, PNG), or an array
    (N, H, W, C), (N, C, H, W) or gray (N, H, W) of uint8 or uint16, of which the upper 8 bits are kept. But
    for an unlabeled split it has `labels` (N,) 0-based; the attribute `classes` lists the names. Batches are
    `{"index", "rgb", "label"}` with `label` (B,), and without `label` in an unlabeled split.

    Args:
        path: the file.
        split: the group, such as `train`, `test` or `unlabeled`.
        size: (height, width) to resize to, by area where it shrinks; None for the stored size, which must
            be one.
        classes: the first n classes, or a list of names or numbers; label i is the i-th of them, and `index`
            counts the images that remain, in the order of the file. None for all.

    Raises:
        DataError: a file that does not open, a link to or values in another file, a compression that cannot
            be read, a split that is missing, images of another layout, a damaged image (named), images of
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
            if not isinstance(group := find_item(file, split), h5py.Group):
                raise DataError(f"{path}: no split {split!r}; found {list_contents(file)}")
            class_names = read_names(file, "classes")
            where = f"{path}: {split}/images"
            images = require_dataset(file, f"{split}/images")
            buffers = _read_all(images, where)
            encoded, first = is_encoded(images), channels_first(images.shape)
            labels = None
            if group.get("labels", getlink=True) is not None:
                stored = read_dataset(require_dataset(file, f"{split}/labels"))
                labels = check_labels(
                    stored, len(buffers), len(class_names) or None, f"{path}: {split}/labels"
                )
        rows: Array | range = range(len(buffers))
        if classes is not None:
            if labels is None:
                raise DataError(f"{path}: {split} has no labels to choose classes by")
            rows, labels, class_names = select_classes(classes, labels, class_names, str(path))

        def decoded() -> Iterator[tuple[str, Array]]:
            for row in rows:
                place, image = f"{where}[{row}]", buffers[row]
                if not encoded:
                    yield place, as_color(image.transpose(1, 2, 0) if first else image, place)
                else:
                    yield place, decode_color(image, place)

        modalities = {"rgb": torch.from_numpy(stack_color(decoded(), len(rows), size))}
        if labels is not None:
            modalities["label"] = torch.from_numpy(labels)
        super().__init__(**modalities)
        self.class_names, self.num_classes = class_names, len(class_names) or None


def _read_all(images: h5py.Dataset, where: str) -> Array:
    """The images, (N,) of bytes or an array of pixels."""
    if not is_encoded(images) and (images.ndim not in (3, 4) or images.dtype not in (np.uint8, np.uint16)):
        raise DataError(
            f"{where} has shape {images.shape} of {images.dtype}; expected encoded images (N,) of "
            "variable-length uint8, or pixels (N, H, W, C), (N, C, H, W) or (N, H, W) of uint8 or uint16"
        )
    if not len(images):
        raise DataError(f"{where} is empty")
    return read_dataset(images)
