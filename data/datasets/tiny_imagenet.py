"""Tiny-ImageNet from the folder or archive that its authors publish."""

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from ...common import UserError
from ..batch import DataError
from ..in_memory import PairedTensors
from ..io.archives import open_zip, read_member
from ..io.decode import Array, Size, check_size, decode_color, stack_color
from ..io.listing import is_hidden, some
from ..labels import Classes, select_classes

URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
NAME = "tiny-imagenet-200"
ANNOTATIONS = "val/val_annotations.txt"


class TinyImageNet(PairedTensors):
    """Tiny-ImageNet in memory: `rgb` (N, 3, 64, 64) uint8, `label` (N,).

    `train` has 100,000 images. The archive's own test images were published without labels: `test` is its
    `val` of 10,000, as is usual, in the order of `val_annotations.txt`, or, if a script has sorted it into a
    folder for each class, by class and name. Classes are in the order of their WordNet ids, called by the
    first of the names in `words.txt`.

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
            raise UserError(f"Tiny-ImageNet has the splits train and test, got {split!r}")
        with _Files(Path(root)) as files:
            wnids = sorted(files.images["train"])
            if not wnids:
                raise DataError(f"{files.where} has no images train/WNID/images/*.JPEG; get it from {URL}")
            names = _names(files, wnids)
            part = "train" if split == "train" else "val"
            listed = _annotated if part == "val" and "images" in files.images["val"] else _listed
            images, labels = listed(files, wnids, part)
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
        images: of `train` and `val`, by the folder below it: a WordNet id, or `images` in `val` as published.
    """

    MARKS: ClassVar = (ANNOTATIONS, "words.txt")
    """Either says that it is this data set: scripts that sort `val` remove the first."""

    def __init__(self, root: Path) -> None:
        folders = [place for place in (root, root / NAME) if any((place / m).is_file() for m in self.MARKS)]
        archives = [place for place in (root, root / f"{NAME}.zip") if place.is_file()]
        if not folders and not archives:
            raise DataError(
                f"{root} has no {NAME} with {' or '.join(self.MARKS)}, and no {NAME}.zip; get it from {URL}"
            )
        self.folder = (folders or archives)[0]
        self.where = str(self.folder)
        self.archive = None if folders else open_zip(self.folder, URL)
        if self.archive is None:
            found = [path for part in ("*/*/*", "*/*/images/*") for path in self.folder.glob(part)]
            listed = [path.relative_to(self.folder).as_posix() for path in found]
        else:
            listed = [name.removeprefix(f"{NAME}/") for name in self.archive.namelist()]
        self.images: dict[str, dict[str, list[str]]] = {"train": defaultdict(list), "val": defaultdict(list)}
        for name in sorted(set(listed)):
            part, *below = name.split("/")
            is_image = len(below) > 1 and name.lower().endswith((".jpeg", ".jpg"))
            if part in self.images and is_image and not any(map(is_hidden, below)):
                self.images[part][below[0]].append(name)

    def __enter__(self) -> "_Files":
        return self

    def __exit__(self, *error: object) -> None:
        if self.archive is not None:
            self.archive.close()

    def read(self, name: str) -> bytes:
        """One file. Raises `DataError` where it is missing or its checksum is wrong."""
        if self.archive is not None:
            return read_member(self.archive, f"{NAME}/{name}", URL)
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise DataError(f"{self.where}: {name} cannot be read ({error}); get it from {URL}") from error


def _names(files: _Files, wnids: list[str]) -> tuple[str, ...]:
    lines = files.read("words.txt").decode().splitlines()
    words = dict(line.split("\t", 1) for line in lines if "\t" in line)
    if missing := [wnid for wnid in wnids if wnid not in words]:
        raise DataError(f"{files.where}/words.txt has no name for {missing[0]}")
    return tuple(words[wnid].split(",")[0].strip() for wnid in wnids)


def _listed(files: _Files, wnids: list[str], part: str) -> tuple[list[str], Array]:
    """The images in folders of classes."""
    folders = files.images[part]
    if unknown := sorted(set(folders) - set(wnids)):
        raise DataError(f"{files.where}/{part} has classes that train has not: {some(unknown)}")
    if not folders:
        raise DataError(
            f"{files.where}/{part} has no images, neither {part}/images/*.JPEG nor in a folder for each class"
        )
    labels = [number for number, wnid in enumerate(wnids) for _ in folders[wnid]]
    return [name for wnid in wnids for name in folders[wnid]], np.array(labels)


def _annotated(files: _Files, wnids: list[str], part: str) -> tuple[list[str], Array]:
    """val/images/*.JPEG, with a line each of name, class and a box in the annotations."""
    if sorted_too := sorted(set(files.images[part]) - {"images"}):
        raise DataError(
            f"{files.where}/{part} has images both in {part}/images and in folders of classes "
            f"({some(sorted_too)}): a script that sorts them has not ended; unpack {NAME}.zip anew"
        )
    numbers = {wnid: number for number, wnid in enumerate(wnids)}
    images, labels = [], []
    for row, line in enumerate(files.read(ANNOTATIONS).decode().splitlines()):
        name, wnid, *_ = (*line.split("\t"), "", "")
        if wnid not in numbers:
            raise DataError(f"{files.where}/{ANNOTATIONS}, line {row + 1}: no class of train in {line!r}")
        images.append(f"{part}/images/{name}")
        labels.append(numbers[wnid])
    if not images:
        raise DataError(f"{files.where}/{ANNOTATIONS} is empty")
    return images, np.array(labels)
