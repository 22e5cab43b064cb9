"""Paired modalities as users have them: a folder of images for each modality, or a table of paths."""

import hashlib
import os
import unicodedata
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..common import UserError, plain
from ..data import DataError, Encoding, check_encodings, with_depth_scale
from ..data.io.arrays import Array
from ..data.io.decode import one_thread_in_workers
from ..data.io.files import load_array, read_file
from ..data.io.listing import some
from ..data.io.stored import decode_label
from ..data.io.values import stored_numbers, values_of
from .base import PairedDataset, Sizes
from .find import Found, find_pairs, read_table
from .groups import Rows, groups_of, numbered


class FolderPairs(PairedDataset):
    """A folder for each modality, whose files match by name without the ending, in nested folders too.

        root/images/kitchen_01.jpg      modalities={"rgb": "images", "depth": "depth", "label": "masks"}
        root/depth/kitchen_01.png
        root/masks/kitchen_01.png

    Files are images (PNG, JPEG, TIFF, …) or arrays (H, W[, C]) in `.npy` or `.npz`. What their numbers mean
    is said by `encodings`; `depth` becomes meters with 0 for no reading, a modality in units of its own has
    NaN there; `label` is 0-based with 255 for pixels to ignore. `from_table` reads a table of paths instead.

    Args:
        root: the folder of the folders.
        modalities: names in the batch to folders below `root`, or to regular expressions over paths below
            it, with capture groups: `{"rgb": r"left/(\\d+)_rgb\\.png", "depth": r"right/(\\d+)_d\\.png"}`.
            Names alone are those of their folders. The first is the one that others are aligned with.
        split: names (without ending) of the samples to use, in this order, or a text file with one a line;
            None for all in the order of their names.
        num_classes: labels must be below it; None leaves them unchecked but for 0 … 255.
        depth_scale: meters a unit, short for `Encoding(unit="scale", scale=…)` of `depth`. Without a unit
            depth must be meters in floats.
        size: (height, width) to resize to, or one for each modality by name; None for the stored size.
        encodings: by modality, how its stored numbers become values.
        match: `name`, or `time` for the nearest numbers in the names, at most `tolerance` apart.
        tolerance: in the names' unit, as a rule seconds.
        group: which samples belong together: `parent`, the folder of the first modality's file, or a regular
            expression with a capture group, searched in its path below `root`.

    Raises:
        ValueError: encodings or sizes of modalities that there are not, settings that exclude each other.
        DataError: folders that are missing, files that do not pair, are double or empty (all in one message);
            on reading, a damaged file, one of another type than the others, modalities of two aspects, or of
            two sizes without `size`, a value out of range, each with its file.
    """

    root: Path
    """What paths are relative to."""
    names: list[str]
    """Of the samples, in their order."""
    groups: Rows | None
    """(N,) int64, the number of each sample's group; None if none was asked for."""
    group_names: tuple[str, ...]
    """By number."""
    unmatched: dict[str, tuple[str, ...]]
    """Modality to the names that have no partner in time."""

    def __init__(
        self,
        root: str | os.PathLike[str],
        modalities: Mapping[str, str] | Sequence[str],
        *,
        split: Sequence[str] | str | os.PathLike[str] | None = None,
        num_classes: int | None = None,
        depth_scale: float | None = None,
        size: Sizes = None,
        encodings: Mapping[str, Encoding] | None = None,
        match: Literal["name", "time"] = "name",
        tolerance: float | None = None,
        group: str | None = None,
    ) -> None:
        if not isinstance(modalities, Mapping):
            names = [modalities] if isinstance(modalities, str) else modalities
            modalities = {name: name for name in names}
        if not modalities:
            raise UserError("modalities must name at least one folder, such as {'rgb': 'images'}")
        if match not in ("name", "time"):
            raise UserError(f"match must be 'name' or 'time', got {match!r}")
        if (match == "time") != (tolerance is not None) or (tolerance is not None and not tolerance >= 0):
            raise UserError(
                f"match='time' takes a tolerance of 0 or more, such as 0.02, and match='name' none; got "
                f"{match!r}, {tolerance}"
            )
        encodings = with_depth_scale(encodings, depth_scale)
        _check_settings(encodings, size, modalities)
        super().__init__(size=size, num_classes=_count_classes(num_classes, encodings), encodings=encodings)
        self._adopt(Path(root), find_pairs(Path(root), modalities, tolerance=tolerance), split, group)

    @classmethod
    def from_table(
        cls,
        path: str | os.PathLike[str],
        modalities: Sequence[str] | None = None,
        *,
        split: str | None = None,
        num_classes: int | None = None,
        depth_scale: float | None = None,
        size: Sizes = None,
        encodings: Mapping[str, Encoding] | None = None,
        group: str | None = None,
    ) -> "FolderPairs":
        """The pairs of a CSV or JSONL file with a column for each modality: paths relative to the file.

        Args:
            modalities: the columns to use; None for all that have an entry, but `group` and `split`.
            split: only the lines with this value in the column `split`; None for all.
            group: a column, or as for a folder; None for the column `group`, if there is one.

        The rest is as for a folder. Names of samples are the paths of the first modality.
        """
        path = Path(path)
        found = read_table(path, modalities, split, group)
        if group is None and any("group" in line for line in found.columns.values()):
            group = "group"
        encodings = with_depth_scale(encodings, depth_scale)
        _check_settings(encodings, size, found.files)
        pairs = cls.__new__(cls)
        PairedDataset.__init__(
            pairs, size=size, num_classes=_count_classes(num_classes, encodings), encodings=encodings
        )
        pairs._adopt(path.parent, found, None, group)
        return pairs

    def _adopt(
        self,
        root: Path,
        found: Found,
        split: Sequence[str] | str | os.PathLike[str] | None,
        group: str | None,
    ) -> None:
        self.root, self._files, self.unmatched = root, found.files, found.unmatched
        self._everything = found.files  # what is not selected may still be the reference
        self._first = next(iter(found.files))
        first = next(iter(found.files.values()))
        self.names = list(first) if split is None else _read_split(split)
        unknown = [name for name in self.names if name not in first]
        if unknown:
            raise DataError(f"{self.root}: the split names samples that are not there: {some(unknown)}")
        self.groups, self.group_names = None, ()
        if group is not None:
            paths = {name: _below(first[name], root) for name in self.names}
            named = groups_of(found, group, paths)
            self.groups, self.group_names = numbered([named[name] for name in self.names])

    def __len__(self) -> int:
        return len(self.names)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self._files)

    def subset(self, rows: Sequence[int] | Rows) -> "FolderPairs":
        """These rows as a data set of their own, whose `index` is 0 … len(rows) - 1; groups keep theirs."""
        chosen = np.asarray(rows, np.int64)
        if chosen.size and not (chosen.min() >= 0 and chosen.max() < len(self)):
            raise DataError(f"rows from {chosen.min()} to {chosen.max()} of a set of {len(self)}")
        result = copy(self)
        result.names = [self.names[row] for row in chosen]
        result.groups = None if self.groups is None else self.groups[chosen]
        return result

    def select(self, *names: str) -> "FolderPairs":
        """Only these modalities: the others are not read."""
        if missing := [name for name in names if name not in self._files]:
            raise DataError(f"no modality {missing[0]!r}; there are {', '.join(self._files)}")
        result = copy(self)
        result._files = {name: self._files[name] for name in names}
        return result

    def _reference(self, index: int, arrays: dict[str, Array]) -> tuple[str, tuple[int, ...]]:
        """Also if the first modality was not selected, as long as another is fitted to it."""
        name = self._first
        fitted = any(e.fit or e.homography for n, e in self.encodings.items() if n in arrays)
        if name in arrays or not fitted:
            return super()._reference(index, arrays)
        return name, self._load(index, name).shape

    def with_encodings(self, encodings: Mapping[str, Encoding]) -> "FolderPairs":
        """The same files read by other encodings, such as those that `resolve` gave for all parts: those of
        modalities that this one has not are left out."""
        encodings = {name: encoding for name, encoding in encodings.items() if name in self._files}
        _check_settings(encodings, None, self._everything)
        result = copy(self)
        PairedDataset.__init__(
            result,
            size=self.size,
            num_classes=_count_classes(self.num_classes, encodings),
            encodings=encodings,
        )
        return result

    def fingerprint(self) -> dict[str, Any]:
        """By what a decoded copy knows these samples: names and sizes of the files, and how they are read."""
        total = hashlib.sha256()
        for modality, files in self._files.items():
            for name in self.names:
                total.update(f"{modality} {name} {files[name].stat().st_size}\n".encode())
        read = {name: asdict(encoding) for name, encoding in self.encodings.items()}
        return {"files": total.hexdigest(), "encodings": plain(read), "size": plain(self.size)}

    def _where(self, index: int, modality: str) -> str:
        return str(self._files[modality][self.names[index]])

    def stored(self, index: int, modality: str) -> Array:
        """The numbers that a file holds, (H, W[, C]), before their unit: of the chosen channel, if one is."""
        encoding = self.encodings.get(modality, Encoding())
        return stored_numbers(self._load(index, modality), modality, encoding, self._where(index, modality))

    def _load(self, index: int, modality: str) -> Array:
        """A file's picture, (H, W[, C])."""
        path = self._everything[modality][self.names[index]]
        encoding = self.encodings.get(modality, Encoding())
        if modality == "label" and path.suffix.lower() not in (".npy", ".npz"):
            return decode_label(read_file(path), str(path))
        return load_array(path, keep_alpha=encoding.channel is not None)

    def _read(self, index: int) -> dict[str, Array]:
        one_thread_in_workers()
        return {
            name: values_of(
                self.stored(index, name), name, self.encodings.get(name, Encoding()), self._where(index, name)
            )
            for name in self._files
        }


def _check_settings(encodings: Mapping[str, Encoding], size: Sizes, modalities: Mapping[str, object]) -> None:
    check_encodings(encodings, modalities)
    first = next(iter(modalities))
    if first in encodings and (encodings[first].fit or encodings[first].homography):
        raise UserError(f"{first} is the first modality, which the others are aligned with: no fit for it")
    if isinstance(size, Mapping) and set(size) != set(modalities):
        odd = sorted(set(size) ^ set(modalities))
        raise UserError(f"size by name must have each of {', '.join(modalities)} and no other; see {odd[0]}")


def _count_classes(num_classes: int | None, encodings: Mapping[str, Encoding]) -> int | None:
    stored = encodings["label"].values if "label" in encodings else None
    if stored is not None and num_classes is not None and len(stored) > num_classes:
        raise UserError(f"label.values names {len(stored)} classes, but there are {num_classes}")
    return num_classes if stored is None else num_classes or len(stored)


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _read_split(split: Sequence[str] | str | os.PathLike[str]) -> list[str]:
    if isinstance(split, (str, os.PathLike)):
        path = Path(split)
        if not path.is_file():
            raise DataError(f"{path}: no such file; a split is a text file with one name a line")
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read as text ({error})") from error
        split = [line.strip() for line in lines if line.strip()]
    names = [unicodedata.normalize("NFC", str(name)) for name in split]
    if not names:
        raise DataError("the split names no sample")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"the split names {twice} more than once")
    return names
