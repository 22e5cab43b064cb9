"""Tiny-ImageNet from the folder or archive that its authors publish."""

import os
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatchcase as fnmatch
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from ..batch import DataError
from ..in_memory import PairedTensors
from ..io.archives import open_zip
from ..io.decode import Array, Size, check_size, decode_color, stack_color
from ..labels import Classes, select_classes

URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
NAME = "tiny-imagenet-200"


class TinyImageNet(PairedTensors):
    """Tiny-ImageNet in memory: `rgb` (N, 3, 64, 64) uint8, `label` (N,).

    `train` has 100,000 images. The archive's own test images were published without labels: `test` is its
    `val` of 10,000, as is usual. Classes are in the order of their WordNet ids, called by the first of the
    names in `words.txt`.

    Args:
        root: the folder `tiny-imagenet-200`, the archive `tiny-imagenet-200.zip`, or the folder of either.
            The archive is read as it is, each file's checksum compared.
        split: `train` or `test` (also `val`).
        size: (height, width) to resize to, by area where it shrinks; None for 64 × 64.
        classes: the first n classes, or a list of names or numbers; label i is the i-th of them, and `index`
            counts the images that remain. None for all.

    Raises:
        DataError: nothing there, a file that is missing or damaged (named), a web page in its place.
        ValueError: an unknown split or class.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str = "train",
        *,
        size: Size | None = None,
        classes: Classes = None,
    ) -> None:
        size = check_size(size)
        if split not in ("train", "test", "val"):
            raise ValueError(f"Tiny-ImageNet has the splits train and test, got {split!r}")
        with _Files(Path(root)) as files:
            wnids = sorted({name.split("/")[1] for name in files.training})
            if not wnids:
                raise DataError(f"{files.where} has no images train/WNID/images/*.JPEG; get it from {URL}")
            names = _names(files, wnids)
            images, labels = _listed(files, wnids) if split == "train" else _annotated(files, wnids)
            if classes is not None:
                rows, labels, names = select_classes(classes, labels, names, files.where)
                images = [images[row] for row in rows]

            def decoded() -> Iterator[tuple[str, Array]]:
                for name in images:
                    where = f"{files.where}/{name}"
                    yield where, decode_color(np.frombuffer(files.read(name), np.uint8), where)

            pixels = stack_color(decoded(), len(images), size)
        super().__init__(rgb=torch.from_numpy(pixels), label=torch.from_numpy(labels))
        self.class_names, self.num_classes = names, len(names)


class _Files:
    """The files below `tiny-imagenet-200`, in a folder or an archive, by their names there.

    Attributes:
        training: train/WNID/images/*.JPEG
    """

    MARK: ClassVar = "val/val_annotations.txt"

    def __init__(self, root: Path) -> None:
        places = (root, root / NAME, root / f"{NAME}.zip")
        found = next((place for place in places if place.is_file() or (place / self.MARK).is_file()), None)
        if found is None:
            raise DataError(f"{root} has no {NAME} with {self.MARK}, and no {NAME}.zip; get it from {URL}")
        self.where = str(found)
        self.folder = found
        self.archive = open_zip(found, URL) if found.is_file() else None
        if self.archive is None:
            listed = [path.relative_to(found).as_posix() for path in found.glob("train/*/images/*")]
        else:
            listed = [name.removeprefix(f"{NAME}/") for name in self.archive.namelist()]
        self.training = sorted(name for name in listed if fnmatch(name, "train/*/images/*.JPEG"))

    def __enter__(self) -> "_Files":
        return self

    def __exit__(self, *error: object) -> None:
        if self.archive is not None:
            self.archive.close()

    def read(self, name: str) -> bytes:
        """One file. Raises `DataError` where it is missing or its checksum is wrong."""
        try:
            if self.archive is None:
                return (self.folder / name).read_bytes()
            return self.archive.read(f"{NAME}/{name}")
        except (OSError, KeyError, zipfile.BadZipFile, RuntimeError) as error:
            raise DataError(f"{self.where}: {name} cannot be read ({error}); get it from {URL}") from error


def _names(files: _Files, wnids: list[str]) -> tuple[str, ...]:
    lines = files.read("words.txt").decode().splitlines()
    words = dict(line.split("\t", 1) for line in lines if "\t" in line)
    if missing := [wnid for wnid in wnids if wnid not in words]:
        raise DataError(f"{files.where}/words.txt has no name for {missing[0]}")
    return tuple(words[wnid].split(",")[0].strip() for wnid in wnids)


def _listed(files: _Files, wnids: list[str]) -> tuple[list[str], Array]:
    numbers = {wnid: number for number, wnid in enumerate(wnids)}
    return files.training, np.array([numbers[name.split("/")[1]] for name in files.training])


def _annotated(files: _Files, wnids: list[str]) -> tuple[list[str], Array]:
    """val/images/*.JPEG, with a line each of name, class and a box in the annotations."""
    numbers = {wnid: number for number, wnid in enumerate(wnids)}
    images, labels = [], []
    for row, line in enumerate(files.read(files.MARK).decode().splitlines()):
        name, wnid, *_ = (*line.split("\t"), "", "")
        if wnid not in numbers:
            raise DataError(f"{files.where}/{files.MARK}, line {row + 1}: no class of train in {line!r}")
        images.append(f"val/images/{name}")
        labels.append(numbers[wnid])
    if not images:
        raise DataError(f"{files.where}/{files.MARK} is empty")
    return images, np.array(labels)
