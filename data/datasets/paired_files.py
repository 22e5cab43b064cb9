"""Paired modalities as users have them: a folder of images for each modality."""

import os
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from ..base import PairedDataset
from ..batch import DataError
from ..io.decode import Array, Size, decode, one_thread_in_workers

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".npy", ".png", ".tif", ".tiff", ".webp"})
SHOWN = 5
"""Mismatches that a message lists before it counts the rest."""


class FolderPairs(PairedDataset):
    """A folder for each modality, whose files match by name without the ending.

        root/images/kitchen_01.jpg      modalities={"rgb": "images", "depth": "depth", "label": "masks"}
        root/depth/kitchen_01.png
        root/masks/kitchen_01.png

    Files are images (PNG, JPEG, TIFF, …) or `.npy` arrays (H, W[, C]). `depth` is in units of `depth_scale`
    meters, 0 for no reading; `label` is 0-based with 255 for pixels to ignore.

    Args:
        root: the folder of the folders.
        modalities: names in the batch to folders below `root`.
        split: names (without ending) of the samples to use, in this order, or a text file with one a line;
            None for all in the order of their names.
        num_classes: labels must be below it; None leaves them unchecked but for 0 … 255.
        depth_scale: meters a unit; None asks `.npy` and float files for meters, and refuses integers.
        size: (height, width) to resize to; None for the stored size.

    Raises:
        DataError: folders that are missing, names that do not pair (the first mismatches are listed); on
            reading, a damaged file, modalities that differ in size, a value out of range, each with its file.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        modalities: Mapping[str, str],
        *,
        split: Sequence[str] | str | os.PathLike[str] | None = None,
        num_classes: int | None = None,
        depth_scale: float | None = None,
        size: Size | None = None,
    ) -> None:
        super().__init__(size=size, num_classes=num_classes)
        if not modalities:
            raise ValueError("modalities must name at least one folder, such as {'rgb': 'images'}")
        if depth_scale is not None and not depth_scale > 0:
            raise ValueError(f"depth_scale must be positive, got {depth_scale}")
        self.root = Path(root)
        self.depth_scale = depth_scale
        files = {name: _files(self.root / folder) for name, folder in modalities.items()}
        _check_pairs(files, modalities)
        self._files = files
        self.names = sorted(next(iter(files.values()))) if split is None else _read_split(split)
        unknown = [name for name in self.names if name not in next(iter(files.values()))]
        if unknown:
            raise DataError(f"{self.root}: the split names samples that are not there: {_some(unknown)}")

    def __len__(self) -> int:
        return len(self.names)

    def _where(self, index: int, modality: str) -> str:
        return str(self._files[modality][self.names[index]])

    def _read(self, index: int) -> dict[str, Array]:
        one_thread_in_workers()
        arrays = {}
        for modality in self._files:
            array = _load(self._files[modality][self.names[index]])
            if modality in ("depth", "label") and array.ndim != 2:
                raise DataError(
                    f"{self._where(index, modality)} has {array.shape[2]} channels; {modality} needs one "
                    "value a pixel"
                )
            if modality == "depth":
                array = self._meters(array, index)
            arrays[modality] = array
        return arrays

    def _meters(self, depth: Array, index: int) -> Array:
        if self.depth_scale is None:
            if depth.dtype.kind != "f":
                raise DataError(
                    f"{self._where(index, 'depth')} holds {depth.dtype} up to {depth.max()}, of unknown "
                    "unit; pass depth_scale, meters a unit (0.001 for millimeters)"
                )
            return depth
        return np.multiply(depth, np.float32(self.depth_scale), dtype=np.float32)


def _files(folder: Path) -> dict[str, Path]:
    """Name without ending to file."""
    if not folder.is_dir():
        beside = sorted(path.name for path in folder.parent.iterdir()) if folder.parent.is_dir() else []
        raise DataError(f"{folder}: no such folder; {folder.parent} has {_some(beside) or 'nothing'}")
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES:
            if path.stem in files:
                raise DataError(f"{folder}: {files[path.stem].name} and {path.name} have the same name")
            files[path.stem] = path
    if not files:
        raise DataError(f"{folder} has no images ({', '.join(sorted(SUFFIXES))})")
    return files


def _check_pairs(files: Mapping[str, Mapping[str, Path]], folders: Mapping[str, str]) -> None:
    every = set().union(*files.values())
    problems = [
        f"{folders[modality]} ({len(found)} files) lacks {_some(sorted(every - found.keys()))}"
        for modality, found in files.items()
        if every - found.keys()
    ]
    if problems:
        raise DataError("the modalities do not pair by name: " + "; ".join(problems))


def _some(names: Sequence[str]) -> str:
    """The first names, and how many more."""
    more = len(names) - SHOWN
    return ", ".join(islice(names, SHOWN)) + (f" and {more} more" if more > 0 else "")


def _read_split(split: Sequence[str] | str | os.PathLike[str]) -> list[str]:
    if isinstance(split, (str, os.PathLike)):
        path = Path(split)
        if not path.is_file():
            raise DataError(f"{path}: no such file; a split is a text file with one name a line")
        split = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    names = [str(name) for name in split]
    if not names:
        raise DataError("the split names no sample")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"the split names {twice} more than once")
    return names


def _load(path: Path) -> Array:
    if path.suffix.lower() == ".npy":
        try:
            array = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: no readable array ({error})") from error
    else:
        array = decode(np.fromfile(path, np.uint8), str(path))
    if array.ndim not in (2, 3) or not array.size:
        raise DataError(f"{path}: shape {array.shape}, expected (height, width[, channels])")
    return np.asarray(array)
