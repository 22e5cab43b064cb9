"""NYU-Depth-v2's labeled set as its authors publish it (Silberman et al., ECCV 2012)."""

import hashlib
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..common import UserError, plain
from ..data import IGNORE, DataError
from ..data.io.arrays import Array
from ..data.io.hdf5 import LazyHDF5, check_readable, open_hdf5, require_dataset
from ..data.io.hdf5_values import read_dataset
from .base import PairedDataset, Sizes
from .matlab import read_variable

LABELED = "nyu_depth_v2_labeled.mat"
SPLITS = "splits.mat"
MAP_40 = "classMapping40.mat"
MAP_13 = "class13Mapping.mat"

SOURCES = {
    LABELED: "http://horatio.cs.nyu.edu/mit/silberman/nyu_depth_v2/nyu_depth_v2_labeled.mat (2.8 GB)",
    SPLITS: "http://horatio.cs.nyu.edu/mit/silberman/indoor_seg_sup/splits.mat",
    MAP_40: "https://github.com/ankurhanda/nyuv2-meta-data",
    MAP_13: "https://github.com/ankurhanda/nyuv2-meta-data",
}
"""File name to where it is published."""


class NYUDepth(PairedDataset):
    """The official `nyu_depth_v2_labeled.mat` with its split: `rgb`, `depth`, `label` at 480×640.

    The file is MATLAB v7.3, that is HDF5 with the axes reversed. It opens on first use in each process, so
    workers of any start method can read it. Each read inflates three compressed images;
    `crdkit.recordings.convert` writes a file for `PackedPairs` that loads more than ten times as fast.

    `depth` is the sensor's (`rawDepths`) in meters, 0 where it has no reading. Unlabeled pixels (raw label
    0) are `IGNORE`.

    Args:
        root: the folder with `nyu_depth_v2_labeled.mat`, `splits.mat`, `classMapping40.mat` and, for 13
            classes, `class13Mapping.mat`.
        split: `train` (795) or `test` (654).
        classes: 40 (Gupta et al., 2013) or 13 (Couprie et al., 2013).
        size: (height, width) to resize to, or one for each modality by name; None for 480×640.
        inpainted: take the filled depth (`depths`), which has no holes, in place of the sensor's.

    Raises:
        DataError: files that are missing (which, and where to get them), damaged or of another layout.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str = "train",
        *,
        classes: int = 40,
        size: Sizes = None,
        inpainted: bool = False,
    ) -> None:
        if classes not in (13, 40):
            raise UserError(f"classes must be 13 or 40, got {classes}")
        if split not in ("train", "test"):
            raise UserError(f"split must be 'train' or 'test', got {split!r}")
        super().__init__(size=size, num_classes=classes)
        self.root = Path(root)
        check_files(self.root, classes)
        self._depth_key = "depths" if inpainted else "rawDepths"
        self._source = LazyHDF5(self.root / LABELED)
        with open_hdf5(self._source.path) as file:
            self.raw_names = _raw_names(file)
            count = _check_layout(file, self._depth_key, len(self.raw_names))
        self.rows = read_split(self.root / SPLITS, split, count)
        self._label_map, self.class_names = _label_map(self.root, classes, len(self.raw_names))

    def __len__(self) -> int:
        return len(self.rows)

    def fingerprint(self) -> dict[str, Any]:
        """By what a decoded copy knows these samples."""
        rows = hashlib.sha256(self.rows.tobytes()).hexdigest()
        read = {"size": plain(self.size), "depth": self._depth_key, "classes": self.num_classes}
        return {"bytes": self._source.path.stat().st_size, "rows": rows, **read}

    def _where(self, index: int, modality: str) -> str:
        key = {"rgb": "images", "depth": self._depth_key, "label": "labels"}[modality]
        return f"{self._source.path}: {key}[{self.rows[index]}]"

    def _read(self, index: int) -> dict[str, Array]:
        row = int(self.rows[index])
        raw = self._source.read("labels", row).T
        if raw.max() >= len(self._label_map):
            raise DataError(
                f"{self._where(index, 'label')}: raw label {raw.max()}, but there are "
                f"{len(self._label_map) - 1} classes"
            )
        return {
            "rgb": np.ascontiguousarray(self._source.read("images", row).transpose(2, 1, 0)),
            "depth": np.ascontiguousarray(self._source.read(self._depth_key, row).T, dtype=np.float32),
            "label": np.ascontiguousarray(self._label_map[raw]),
        }


def check_files(root: Path, classes: int) -> None:
    """Raise `DataError` that lists every file that is missing from `root`, and where each is published."""
    needed = [LABELED, SPLITS, MAP_40, *([MAP_13] if classes == 13 else [])]
    missing = [name for name in needed if not (root / name).is_file()]
    if missing:
        what = (
            f"{root} lacks {len(missing)} of the files"
            if root.is_dir()
            else f"{root} is no folder with the files"
        )
        listed = "".join(f"\n  {name}  from  {SOURCES[name]}" for name in missing)
        raise DataError(f"{what} of NYU-Depth-v2; put these there:{listed}")


def read_split(path: Path, split: str, count: int) -> Array:
    """0-based rows of the split (the file counts from 1), which must be below `count`."""
    rows = np.ravel(_variable(path, f"{split}Ndxs")).astype(np.int64) - 1
    if not rows.size or rows.min() < 0 or rows.max() >= count:
        raise DataError(f"{path}: {split}Ndxs must be numbers from 1 to {count}, there are {rows.size} rows")
    return rows


def map_894_to_40(root: Path) -> tuple[Array, tuple[str, ...]]:
    """`mapClass` (894,), 1 … 40 for raw labels 1 … 894, and the names of the 40 classes."""
    path = root / MAP_40
    table = np.ravel(_variable(path, "mapClass")).astype(np.int64)
    if table.min() < 1 or table.max() > 40:
        raise DataError(f"{path}: mapClass has values from {table.min()} to {table.max()}, expected 1 to 40")
    return table, _names(_variable(path, "className"))


def map_40_to_13(root: Path) -> tuple[Array, tuple[str, ...]]:
    """`labels13` (40,), 1 … 13 (or 0 for none) for classes 1 … 40, and the names of the 13 classes."""
    path = root / MAP_13
    struct = _variable(path, "classMapping13")
    try:
        table, names = np.ravel(struct["labels13"].item()), _names(struct["classNames"].item())
    except (IndexError, KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path}: classMapping13 has no labels13 and classNames") from error
    if table.shape != (40,) or table.min() < 0 or table.max() > 13:
        raise DataError(f"{path}: labels13 must be 40 numbers from 0 to 13, got shape {table.shape}")
    return table.astype(np.int64), names


def _label_map(root: Path, classes: int, raw_classes: int) -> tuple[Array, tuple[str, ...]]:
    """Raw label 0 … 894 to 0-based class, `IGNORE` for 0 (unlabeled)."""
    to_40, names = map_894_to_40(root)
    if to_40.shape != (raw_classes,):
        raise DataError(f"{root / MAP_40}: mapClass has {to_40.size} entries, there are {raw_classes} names")
    target = to_40
    if classes == 13:
        to_13, names = map_40_to_13(root)
        target = to_13[to_40 - 1]
    # Unlabeled pixels are set apart before the look-up: as an index, 0 would be the last class.
    return np.concatenate([[IGNORE], np.where(target == 0, IGNORE, target - 1)]).astype(np.uint8), names


def _variable(path: Path, name: str) -> Any:
    return read_variable(path, name, f"get it again from {SOURCES[path.name]}")


def _names(cells: Any) -> tuple[str, ...]:
    """A MATLAB cell array of strings."""
    return tuple(str(np.ravel(cell)[0]) if np.size(cell) else "" for cell in np.ravel(cells))


def _raw_names(file: h5py.File) -> tuple[str, ...]:
    """`names` (1, 894): references to arrays of UTF-16 codes."""
    references = np.ravel(read_dataset(require_dataset(file, "names")))
    try:
        strings = [file[reference] for reference in references]
        for string in strings:
            check_readable(string)
        return tuple(np.ravel(read_dataset(s)).astype("<u2").tobytes().decode("utf-16-le") for s in strings)
    except DataError:
        raise
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(f"{file.filename}: names must refer to strings ({error})") from error


def _check_layout(file: h5py.File, depth_key: str, raw_classes: int) -> int:
    """The number of images. Raises `DataError` where an array is not as MATLAB writes it."""
    images = require_dataset(file, "images")
    if images.ndim != 4 or images.shape[1] != 3:
        raise DataError(f"{file.filename}: images has shape {images.shape}, expected (N, 3, width, height)")
    expected = (images.shape[0], *images.shape[2:])
    for name in (depth_key, "labels"):
        if require_dataset(file, name).shape != expected:
            raise DataError(f"{file.filename}: {name} has shape {file[name].shape}, expected {expected}")
    if raw_classes < 1:
        raise DataError(f"{file.filename}: names is empty")
    return int(images.shape[0])
