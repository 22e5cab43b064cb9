"""Packed images with one label each."""

import os
from pathlib import Path

import cv2
import h5py
import numpy as np
import torch

from .batch import DataError
from .hdf5 import contents, open_hdf5, require
from .images import Array, Size, check_size, decode, resize_colour
from .tensors import PairedTensors


class PackedImages(PairedTensors):
    """Images and labels from an HDF5 file, decoded into memory once, as `rgb` (N, 3, H, W) uint8.

    The file has a group a split with `images` (N,) of variable-length uint8 (JPEG, PNG) and, but for an
    unlabelled split, `labels` (N,) 0-based; the attribute `classes` lists the names. Batches are
    `{"index", "rgb", "label"}` with `label` (B,), and without `label` in an unlabelled split.

    Args:
        path: the file.
        split: the group, such as `train`, `test` or `unlabeled`.
        size: (height, width) to resize to; None for the stored size, which must be one.

    Raises:
        DataError: a file that does not open, a split that is missing, a damaged image (named), images of
            several sizes, a label out of range.
    """

    def __init__(
        self, path: str | os.PathLike[str], split: str = "train", *, size: Size | None = None
    ) -> None:
        size = check_size(size)
        with open_hdf5(Path(path)) as file:
            if not isinstance(file.get(split), h5py.Group):
                raise DataError(f"{path}: no split {split!r}; found {contents(file)}")
            images = require(file, f"{split}/images")
            classes = tuple(str(name) for name in file.attrs.get("classes", ()))
            views = {"rgb": torch.from_numpy(_decode_all(images, f"{path}: {split}/images", size))}
            if "labels" in file[split]:
                labels = _labels(require(file, f"{split}/labels"), len(images), len(classes), str(path))
                views["label"] = torch.from_numpy(labels)
        super().__init__(**views)
        self.class_names = classes
        self.num_classes = len(classes) or None


def _decode_all(images: h5py.Dataset, where: str, size: Size | None) -> Array:
    """(N, 3, H, W) uint8."""
    result: Array | None = None
    try:
        buffers = images[:]
    except OSError as error:
        raise DataError(f"{where} cannot be read ({error}); the file is damaged") from error
    for row, buffer in enumerate(buffers):
        image = decode(buffer, f"{where}[{row}]")
        if image.ndim == 2:
            image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
        if size is not None:
            image = resize_colour(image, size)
        if result is None:
            result = np.empty((len(buffers), 3, *image.shape[:2]), np.uint8)
        if image.shape[:2] != result.shape[2:]:
            (h, w), (h_0, w_0) = image.shape[:2], result.shape[2:]
            raise DataError(f"{where}[{row}] is {h}×{w}, the first is {h_0}×{w_0}; pass size=(height, width)")
        result[row] = image.transpose(2, 0, 1)
    if result is None:
        raise DataError(f"{where} is empty")
    return result


def _labels(stored: h5py.Dataset, count: int, num_classes: int, where: str) -> Array:
    labels = stored[:].astype(np.int64)
    if labels.shape != (count,):
        raise DataError(f"{where}: {count} images, but labels of shape {labels.shape}")
    limit = num_classes or np.iinfo(np.int64).max
    wrong = np.flatnonzero((labels < 0) | (labels >= limit))
    if wrong.size:
        raise DataError(
            f"{where}: label {labels[wrong[0]]} of image {wrong[0]}, expected 0 to {num_classes - 1}"
        )
    return np.asarray(labels)
