"""Labeled images by the name of their source, as a person gives it at the prompt."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from ..common import UserError, nearest, plain
from .config import ImageSource
from .datasets.cifar import CIFAR10, CIFAR100
from .datasets.colored_shapes import ColoredShapes
from .datasets.digits import Digits
from .datasets.image_folder import ImageFolder
from .datasets.packed_images import PackedImages
from .datasets.tiny_imagenet import TinyImageNet
from .decoded import decode_once
from .in_memory import PairedTensors
from .labels import Classes

if TYPE_CHECKING:
    from .datasets.stl10 import STL10

SOURCES: tuple[str, ...] = tuple(sorted(get_args(ImageSource)))


def load_images(
    source: str,
    root: str | os.PathLike[str] | None = None,
    split: str = "train",
    *,
    size: int | None = None,
    classes: Classes = None,
    augment: bool | None = None,
    download: bool = False,
) -> PairedTensors | ImageFolder | STL10:
    """Labeled images for training or testing a classifier.

    All have `labels` (N,), `num_classes` and `class_names`, and give `{"index", "rgb", "label"}`. What fits
    in memory is a `PairedTensors`: stored pixels, to be moved to the device with `to` and augmented there
    (`ImageAugment`). `folder` is decoded, and in `train` augmented, by the loader's workers. Unlabeled
    images, of `packed` or `stl10`, have no `label`; the 100,000 of `stl10` stay on disk.

    Args:
        source: `cifar10`, `cifar100`, `stl10`, `tiny-imagenet`: the published files · `folder`: a folder for
            each class, such as ImageNet · `packed`: an HDF5 file · `digits`: comes with scikit-learn ·
            `shapes`: drawn here.
        root: the folder, or for `packed` the file; none for `digits` and `shapes`.
        split: `train` or `test`, in `stl10` and `shapes` also `unlabeled`, in `packed` also others.
        size: side of the square to resize to; None for the stored size (`digits`: 32, `folder`: 224).
        classes: the first n classes, or a list of names or numbers; None for all.
        augment: of `folder`, whether images are cropped at random; None for `train` alone.

        download: fetch the archive of `cifar10`, `cifar100` or `stl10` if it is not there.

    Raises:
        ValueError: an unknown source (the nearest are suggested), split or class; `root` missing.
        DataError: data that are missing or damaged.
    """
    if source not in SOURCES:
        raise UserError(f"no image source named {source!r}: {nearest(source, SOURCES)}")
    square = None if size is None else (size, size)
    if source == "digits":
        return Digits(split, size=square, classes=classes)
    if source == "shapes":
        return ColoredShapes(split, size=square, classes=classes)
    if root is None:
        kind = "file" if source == "packed" else "folder"
        raise UserError(f"{source} needs root, the {kind} of its images")
    if source == "folder":
        return ImageFolder(root, split, size=224 if size is None else size, augment=augment, classes=classes)
    if source == "stl10":
        from .datasets.stl10 import STL10  # imports all of torchvision's data sets

        images = STL10(root, split, size=square, classes=classes, download=download)
        return images if images.split == "unlabeled" else images.in_memory()
    if source in ("cifar10", "cifar100"):
        cifar = CIFAR10 if source == "cifar10" else CIFAR100
        return cifar(root, split, size=square, classes=classes, download=download)
    if source == "tiny-imagenet":
        return TinyImageNet(root, split, size=square, classes=classes)
    return decode_once(
        {"images": split, "size": size, "classes": plain(classes)},
        lambda: PackedImages(root, split, size=square, classes=classes),
        file=Path(root),
    )
