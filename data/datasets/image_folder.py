"""Labeled images as they are usually kept: a folder for each class."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from ...common import UserError
from ..batch import DataError, Sample
from ..config import check_range, check_shares
from ..io.decode import Array, decode_color, one_thread_in_workers
from ..io.files import read_file
from ..io.listing import is_hidden, walk_files
from ..labels import Classes, choose_classes
from ..modality import in_unit_range, test_crop

INSTEAD = {"test": ("test", "val"), "val": ("val", "test")}
"""The folders that a split may be called, the first that has class folders."""


class ImageFolder(Dataset[Sample]):
    """ROOT/SPLIT/CLASS/…/image.jpg, decoded when asked for; ImageNet is one, a class for each WordNet id.

    Samples are `{"index", "rgb", "label"}`: `rgb` (3, size, size), `label` the number of the class among the
    folder names in order. Files and labels are in the order of torchvision's `ImageFolder`, without hidden
    files and folders (`._x`, `.ipynb_checkpoints`). Gray, CMYK and 16-bit files become 8-bit RGB; an
    orientation that the camera noted is not applied, as there.

    With `augment`, the published ImageNet training: a box of random area, aspect and place, resized, mirrored
    half of the time. The crop is of the stored image, not of one resized before: only so is a box of 8 % of
    a photograph as sharp as in the published pipeline. Without, the published test: the shorter side made
    size · 256/224, the middle cropped. Both are within a level or two of 255 of torchvision's on Pillow.

    Draws are from torch's global generator. The engine seeds that for each batch from its seed, the epoch and
    the indices, so that a sample does not depend on workers, their start method, or resuming.

    Args:
        root: the folder of the splits.
        split: the folder of the class folders below `root`; `test` is `val` where there is no `test`, and
            the reverse. None where `root` has the class folders itself.
        size: side of the square in pixels.
        augment: random crop and flip; None for `split == "train"`.
        crop_scale: area of the crop, as a share of the image's.
        crop_ratio: width of the crop by its height.
        flip: probability of mirroring left and right.
        classes: the first n classes, or a list of folder names or numbers; label i is the i-th of them.

    Attributes:
        labels: of every image, (N,) int64.
        class_names: the folder names by label. Those of `train`, where there is one beside the split.

    Raises:
        DataError: no class folder, one without an image or (beside `train`) not in `train`, a link to a
            folder that it is in; on reading, a file that is missing, cut or no image, with its path.
        ValueError: an unknown class, a setting out of range.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str | None = "train",
        *,
        size: int = 224,
        augment: bool | None = None,
        crop_scale: tuple[float, float] = (0.08, 1.0),
        crop_ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flip: float = 0.5,
        classes: Classes = None,
    ) -> None:
        from torchvision.transforms import v2

        if size < 1:
            raise UserError(f"size must be at least 1, got {size}")
        check_range("crop_scale", crop_scale, below=1.0)
        check_range("crop_ratio", crop_ratio)
        check_shares(flip=flip)
        self.augment = split == "train" if augment is None else augment
        self.transform = test_crop(size)
        if self.augment:
            self.transform = v2.Compose(
                [v2.RandomResizedCrop(size, crop_scale, crop_ratio), v2.RandomHorizontalFlip(flip)]
            )
        self.folder = Path(root) if split is None else _split_folder(Path(root), split)
        names = _class_names(self.folder, None if split is None else Path(root) / "train")
        chosen = choose_classes(classes, names, str(self.folder))
        self.class_names = tuple(names[number] for number in chosen)
        self.num_classes = len(chosen)
        files, labels = _images(self.folder, self.class_names)
        if not files:
            raise DataError(f"{self.folder} has no images of {', '.join(self.class_names[:5])}")
        # One block of bytes: a million str are copied into every worker as soon as they are looked at.
        self._files: Array = np.array([os.fsencode(name) for name in files])
        self.labels = torch.tensor(labels)

    def __len__(self) -> int:
        return len(self._files)

    def path(self, index: int) -> Path:
        """The file of a sample."""
        return self.folder / os.fsdecode(bytes(self._files[index]))

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} of a data set of {len(self)} samples")
        one_thread_in_workers()
        path = self.path(index)
        image = torch.from_numpy(decode_color(read_file(path), str(path))).permute(2, 0, 1)
        rgb = in_unit_range(self.transform(image))
        return {"index": torch.tensor(index), "rgb": rgb, "label": self.labels[index]}


def _split_folder(root: Path, split: str) -> Path:
    for name in INSTEAD.get(split, (split,)):
        if (root / name).is_dir() and _folders(root / name):
            return root / name
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    beside = ", ".join(_folders(root)[:5]) or "no folder"
    raise DataError(
        f"{root}: no {' or '.join(INSTEAD.get(split, (split,)))} with a folder for each class; found "
        f"{beside}; pass split=None where these are the classes"
    )


def _class_names(folder: Path, train: Path | None) -> list[str]:
    """Of `train`, where it is there: a test set that lacks a class would number the others anew."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    own = _folders(folder)
    if not own:
        raise DataError(f"{folder} has no folder for each class")
    if train is None or not train.is_dir():
        return own
    names = _folders(train)
    if unknown := sorted(set(own) - set(names)):
        raise DataError(f"{folder} has classes that {train} has not: {', '.join(unknown[:5])}")
    return names


def _folders(folder: Path) -> list[str]:
    return sorted(e.name for e in os.scandir(folder) if e.is_dir() and not is_hidden(e.name))


def _images(folder: Path, names: Sequence[str]) -> tuple[list[str], list[int]]:
    """Paths below `folder` and labels, in torchvision's order. `DataError` for a class folder without
    images."""
    from torchvision.datasets.folder import IMG_EXTENSIONS

    found: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        if not (folder / name).is_dir():
            continue
        listed = [path for path in walk_files(folder / name) if path.lower().endswith(IMG_EXTENSIONS)]
        if not listed:
            raise DataError(f"{folder / name} has no images ({', '.join(IMG_EXTENSIONS)})")
        found += sorted((f"{name}/{path}" for path in listed), key=os.path.split)
        labels += [label] * len(listed)
    return found, labels
