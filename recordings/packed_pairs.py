"""Paired modalities in one HDF5 file: the compact form of NYU-Depth-v2, and users' own."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np

from ..common import UserError, plain
from ..data import IGNORE, DataError, Encoding
from ..data.io.arrays import Array
from ..data.io.decode import check_label, decode_image
from ..data.io.hdf5 import (
    LazyHDF5,
    channels_first,
    find_item,
    is_encoded,
    list_contents,
    open_hdf5,
    require_dataset,
)
from ..data.io.hdf5_values import read_dataset, read_names, read_number, texts
from ..data.io.stored import decode_label
from .base import PairedDataset, Sizes

METERS_PER_UNIT = ("meters_per_unit", "metres_per_unit")
"""The attribute of `depth`; files of crdkit 0.1 have it in British spelling."""
UNLABELED = "unlabeled"
"""The split whose rows have no labels."""
GROUP = "group"
"""The data set of each row's recording, scene or other group."""


class PackedPairs(PairedDataset):
    """Paired modalities from an HDF5 file with one data set a modality.

    A data set is either encoded images (N,) of variable-length uint8 (PNG, JPEG) or an array (N, H, W),
    (N, H, W, C) or, with up to 4 channels, (N, C, H, W). `depth` of an integer type has the attribute
    `meters_per_unit`; 0 is no reading. A label data set is 0-based, read as the numbers that are stored, and
    may have the attributes `ignore` (the value that does not count) and `names`. Splits are data sets of
    0-based row numbers, such as `train` and `test`; `unlabeled` is one that serves no label. A data set
    `group` (N,) of numbers or names says what belongs together, such as frames of one recording.

    Args:
        path: the file.
        split: the name of a data set of row numbers; None for all rows in their order.
        classes: 40 or 13 for NYU-Depth-v2's labels (13 through `map_40_to_13`, 1-based, in the file); None
            leaves labels as they are stored.
        size: (height, width) to resize to, or one for each modality by name; None for the stored size.
        modalities: names in the batch to names in the file; None for those of `rgb`, `depth`, `label` (in
            the file `label` or `label40`) that there are, without `label` in the split `unlabeled`.
        depth_scale: meters a unit of `depth`; None for the attribute `meters_per_unit`, or 1 for floats.
        encodings: by modality, `fit` or `homography` for one of another aspect than the first.

    Attributes:
        rows: of the file, by index, (len,) int64.
        groups: of these rows, (len,) int64, the same number for the same group in every split; None if the
            file has no `group`.

    Raises:
        DataError: a file that does not open, a name that is missing (those found are listed), a link to or
            values in another file, a compression that cannot be read, modalities that differ in number, rows
            outside the file; on reading, a damaged sample, lossy labels, a value out of range.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        split: str | None = None,
        *,
        classes: int | None = None,
        size: Sizes = None,
        modalities: Mapping[str, str] | None = None,
        depth_scale: float | None = None,
        encodings: Mapping[str, Encoding] | None = None,
    ) -> None:
        if classes not in (None, 13, 40):
            raise UserError(f"classes must be 13, 40 or None, got {classes}")
        for name, encoding in (encodings or {}).items():
            if encoding != Encoding(fit=encoding.fit, homography=encoding.homography):
                raise UserError(
                    f"what the numbers of {name} mean the file says: its encoding has only fit, homography"
                )
        super().__init__(size=size, num_classes=classes, encodings=encodings)
        self._source = LazyHDF5(path)
        with open_hdf5(self._source.path) as file:
            self.modalities = dict(modalities) if modalities is not None else _discover(file, split)
            stored = {name: require_dataset(file, key) for name, key in self.modalities.items()}
            count = _count(file, stored)
            self.rows = _rows(file, split, count)
            self.groups = _groups(file, count, self.rows)
            self._first = {name for name, data in stored.items() if channels_first(data.shape)}
            self.class_names: tuple[str, ...] = ()
            self._label_map: Array = np.arange(256, dtype=np.uint8)
            self._ignore = IGNORE
            if "label" in stored:
                self._read_labels(file, stored["label"], classes)
            self._depth_scale = _depth_scale(stored["depth"], depth_scale) if "depth" in stored else 1.0

    @staticmethod
    def contents(path: str | os.PathLike[str]) -> frozenset[str]:
        """The names of a file's data sets at its top. Raises `DataError` if it does not open."""
        with open_hdf5(Path(path)) as file:
            return frozenset(name for name in file if isinstance(find_item(file, name), h5py.Dataset))

    def fingerprint(self) -> dict[str, Any]:
        """By what a decoded copy knows these samples: the file's size, the rows, and how they are read."""
        rows = hashlib.sha256(self.rows.tobytes()).hexdigest()
        read = {"size": plain(self.size), "modalities": self.modalities, "classes": self.num_classes}
        return {"bytes": self._source.path.stat().st_size, "rows": rows, **read}

    @property
    def path(self) -> Path:
        """The file."""
        return self._source.path

    def decoding(self) -> dict[str, Any]:
        """All that the samples depend on, beside the file's contents, if there are no encodings."""
        return {**self.fingerprint(), "depth_scale": float(self._depth_scale)}

    def _read_labels(self, file: h5py.File, stored: h5py.Dataset, classes: int | None) -> None:
        """Compose the stored ignore value and the map to 13 classes into one table of 256 entries."""
        names_of: h5py.Dataset = stored
        if classes == 13:
            names_of = require_dataset(file, "map_40_to_13")
            stored_13 = read_dataset(names_of)
            if (
                stored_13.shape != (40,)
                or stored_13.dtype.kind not in "iu"
                or not np.isin(stored_13, range(14)).all()
            ):
                raise DataError(f"{file.filename}: map_40_to_13 must be 40 numbers from 0 to 13")
            to_13 = stored_13.astype(np.int64) - 1
            self._label_map[:40] = np.where(to_13 < 0, IGNORE, to_13)
            self._label_map[40:IGNORE] = IGNORE - 1  # refused as out of range when a label is read
        ignore = read_number(stored, "ignore")
        self._ignore = IGNORE if ignore is None else int(ignore)
        if 0 <= self._ignore <= IGNORE:
            self._label_map[self._ignore] = IGNORE
        stored_names = read_names(stored, "names")
        if classes is not None and len(stored_names) not in (0, 40):
            raise DataError(
                f"{file.filename}: {stored.name.lstrip('/')} names {len(stored_names)} classes; "
                f"classes={classes} needs NYU-Depth-v2's 40, pass classes=None"
            )
        self.class_names = read_names(names_of, "names")
        if classes is None and self.class_names:
            self.num_classes = len(self.class_names)

    def __len__(self) -> int:
        return len(self.rows)

    def _where(self, index: int, modality: str) -> str:
        return f"{self._source.path}: {self.modalities[modality]}[{self.rows[index]}]"

    def _read(self, index: int) -> dict[str, Array]:
        row = int(self.rows[index])
        arrays = {}
        for name, key in self.modalities.items():
            array = self._source.read(key, row)
            where = self._where(index, name)
            if array.ndim == 1:
                array = decode_label(array, where) if name == "label" else decode_image(array, where)
            elif name in self._first:
                array = np.ascontiguousarray(array.transpose(1, 2, 0))
            if name in ("depth", "label"):
                array = _one_channel(array, where)
            if name == "depth":
                array = np.multiply(array, np.float32(self._depth_scale), dtype=np.float32)
            elif name == "label":
                array = self._mapped(array, where)
            arrays[name] = array
        return arrays

    def _mapped(self, label: Array, where: str) -> Array:
        """Stored labels to the classes served, with `IGNORE` for the stored value that does not count."""
        if label.dtype != np.uint8:
            label = np.where(label == self._ignore, IGNORE, label)
            check_label(label, None, where)
            label = label.astype(np.uint8)
        mapped = np.asarray(cv2.LUT(label, self._label_map))
        if self.num_classes == 13 and (mapped == IGNORE - 1).any():
            check_label(np.where(label == self._ignore, IGNORE, label), 40, where)
        return mapped


def _one_channel(array: Array, where: str) -> Array:
    """(H, W) of (H, W) or (H, W, 1)."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim != 2:
        raise DataError(f"{where} has {array.shape[2]} channels, expected one value a pixel")
    return np.ascontiguousarray(array)


def _discover(file: h5py.File, split: str | None) -> dict[str, str]:
    candidates: dict[str, tuple[str, ...]] = {"rgb": ("rgb",), "depth": ("depth",)}
    if split != UNLABELED:
        candidates["label"] = ("label", "label40")
    found = {name: key for name, keys in candidates.items() for key in reversed(keys) if find_item(file, key)}
    if not found:
        raise DataError(
            f"{file.filename}: none of rgb, depth, label; found {list_contents(file)}; name the "
            "data sets, for instance modalities={'rgb': 'images', 'depth': 'depths'}"
        )
    return found


def _count(file: h5py.File, stored: Mapping[str, h5py.Dataset]) -> int:
    """The number of rows, the same in every modality: encoded images, or arrays of 3 or 4 axes."""
    for name, dataset in stored.items():
        if not is_encoded(dataset) and (dataset.ndim not in (3, 4) or dataset.dtype.kind not in "biuf"):
            raise DataError(
                f"{file.filename}: {dataset.name.lstrip('/')} (for {name}) has shape {dataset.shape} of "
                f"{dataset.dtype}; expected numbers (N, H, W), (N, H, W, C) or (N, C, H, W), or encoded "
                "images (N,) of variable-length uint8"
            )
    counts = {dataset.name.lstrip("/"): len(dataset) for dataset in stored.values()}
    if len(set(counts.values())) != 1:
        raise DataError(f"{file.filename}: the modalities differ in number: {counts}")
    return next(iter(counts.values()))


def _rows(file: h5py.File, split: str | None, count: int) -> Array:
    if split is None:
        return np.arange(count)
    rows = require_dataset(file, split)
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise DataError(f"{file.filename}: {split} must be a list of row numbers, has shape {rows.shape}")
    values = read_dataset(rows).astype(np.int64)
    wrong = values[(values < 0) | (values >= count)]
    if wrong.size:
        raise DataError(f"{file.filename}: {split} names row {wrong[0]}, but there are {count} rows")
    if not values.size:
        raise DataError(f"{file.filename}: the split {split} is empty")
    return np.asarray(values)


def _groups(file: h5py.File, count: int, rows: Array) -> Array | None:
    """The group of each of `rows`, names numbered in their order over the whole file."""
    if not isinstance(find_item(file, GROUP), h5py.Dataset):
        return None
    stored = require_dataset(file, GROUP)
    if stored.shape != (count,):
        raise DataError(f"{file.filename}: {GROUP} has shape {stored.shape}, expected one a row, ({count},)")
    values = read_dataset(stored)
    if values.dtype.kind not in "iu":
        values = np.unique(np.array(texts(values)), return_inverse=True)[1]
    return np.asarray(values.astype(np.int64)[rows])


def _depth_scale(stored: h5py.Dataset, given: float | None) -> float:
    if given is not None:
        if not given > 0:
            raise UserError(f"depth_scale must be positive, got {given}")
        return given
    for name in METERS_PER_UNIT:
        if (scale := read_number(stored, name)) is not None:
            return scale
    if stored.dtype.kind == "f":
        return 1.0
    raise DataError(
        f"{stored.file.filename}: {stored.name.lstrip('/')} has no attribute meters_per_unit; pass "
        "depth_scale (0.001 for millimeters)"
    )
