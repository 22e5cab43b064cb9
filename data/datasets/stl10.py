"""STL-10 from the binary files that its authors publish, memory-mapped."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets import STL10 as Published

from ...common import UserError
from ..batch import Batch, BatchDataset, DataError
from ..in_memory import PairedTensors
from ..io.archives import check_no_page, fetch, unpack_tar
from ..io.decode import Array, Size, check_size, one_thread_in_workers, stack_color
from ..labels import Classes, names_in_lines, select_classes

SPLITS = ("train", "test", "unlabeled")
LISTED = [name for name, _ in Published.train_list + Published.test_list]
OTHERS = [Published.class_names_file, Published.folds_list_file]
AGAIN = f"extract {Published.filename} again, or get it from {Published.url}"
SIDE = 96
PIXELS = 3 * SIDE * SIDE


class STL10(BatchDataset):
    """STL-10 on disk (Coates, Ng & Lee, 2011): 5,000 images for `train`, 8,000 `test`, 100,000 `unlabeled`.

    Samples are `{"index", "rgb", "label"}`, without `label` where `unlabeled`: `rgb` (3, 96, 96) float32 in
    [0, 1], `label` 0-based. `__getitems__` makes a whole batch, reading its images and no others from the
    mapped file. A labeled split fits on the device: `in_memory`.

    Where there is the archive alone, it is unpacked beside itself once: 2.6 GB become 3.1 GB, and nothing is
    written before its MD5 has been found right.

    Args:
        root: the folder of `stl10_binary` or of `stl10_binary.tar.gz`, or either itself.
        split: `train`, `test` or `unlabeled` (also `unlabelled`).
        size: (height, width) to resize to, by area where it shrinks; None for 96 × 96.
        classes: the first n classes, or a list of names or numbers; label i is the i-th of them, and `index`
            counts the images that remain. None for all.
        download: fetch the archive if nothing is there.

    Attributes:
        folds: the ten published parts of `train`, each the rows of its images, (1000,) int64 in the official
            files, fewer where `classes` leaves some out. Empty in other splits and without the file.
        class_names: by label; in `unlabeled` too, where the file is there.

    Raises:
        DataError: nothing there, a file that is missing, cut or a web page, a label or a fold out of range,
            a checksum that differs, no room to unpack; `classes` in `unlabeled`. On reading, a file that
            has gone or has been cut since.
        ValueError: an unknown split or class.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str = "train",
        *,
        size: Size | None = None,
        classes: Classes = None,
        download: bool = False,
    ) -> None:
        self.size = check_size(size)
        self.split = "unlabeled" if split == "unlabelled" else split
        if self.split not in SPLITS:
            raise UserError(f"STL-10 has the splits {', '.join(SPLITS)}, got {split!r}")
        folder = _find(Path(root), self.split, download=download)
        self.path = folder / f"{self.split}_X.bin"
        self.class_names = _class_names(folder)
        self._labels: Tensor | None = None
        self.folds: tuple[Tensor, ...] = ()
        if self.split == "unlabeled":
            if classes is not None:
                raise DataError(f"{self.path}: unlabeled images have no labels to choose classes by")
            self._stored = _count(self.path, None)
            self._rows: Array = np.arange(self._stored)
        else:
            labels = _read_labels(folder / f"{self.split}_y.bin", len(self.class_names))
            self._stored = _count(self.path, len(labels))
            self._rows, labels, self.class_names = select_classes(
                classes, labels, self.class_names, str(self.path)
            )
            self._labels = torch.from_numpy(labels)
        if self.split == "train":
            self.folds = _read_folds(folder / Published.folds_list_file, self._stored, self._rows)
        self.num_classes = len(self.class_names) or None

    def __len__(self) -> int:
        return len(self._rows)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        index = torch.as_tensor(indices, dtype=torch.int64, device="cpu")
        wrong = index[(index < 0) | (index >= len(self))]
        if wrong.numel():
            raise IndexError(f"index {int(wrong[0])} of a data set of {len(self)} samples")
        batch = {"index": index, "rgb": torch.from_numpy(self._read(index.numpy())).float().div_(255)}
        if self._labels is not None:
            batch["label"] = self._labels[index]
        return batch

    @property
    def labels(self) -> Tensor:
        """The label of every image, (N,) int64. Raises `DataError` where the split has none."""
        if self._labels is None:
            raise DataError(f"{self.path}: unlabeled images have no labels; train and test have")
        return self._labels

    def in_memory(self) -> PairedTensors:
        """All images as uint8 in memory, 27,648 bytes each at the stored size, to be moved to a device."""
        result = PairedTensors.from_dataset(self)
        result.folds = self.folds
        return result

    def _read(self, index: Array) -> Array:
        """(B, 3, H, W) uint8 of the images of these rows."""
        rows = self._rows[index]
        try:
            # Mapped anew for each batch, which costs a tenth of a millisecond: a mapping that is kept counts
            # every page ever read as memory in use, pickles as all the images, and ends the process by a
            # signal, not an error, where the file has been cut.
            planes = np.memmap(self.path, np.uint8, "r", shape=(self._stored, 3, SIDE, SIDE))[rows]
        except (OSError, ValueError) as error:
            raise DataError(f"{self.path} cannot be read ({error}); {AGAIN}") from error
        if self.size is None:
            return np.ascontiguousarray(planes.transpose(0, 1, 3, 2))  # stored column by column
        one_thread_in_workers()
        images = ((f"{self.path}[{row}]", p.transpose(2, 1, 0)) for row, p in zip(rows, planes, strict=True))
        return stack_color(images, len(rows), self.size)


def _find(root: Path, split: str, *, download: bool) -> Path:
    """Return the folder of the files, unpacked if there is only the archive.

    Raises:
        DataError: a file of the split is missing or a web page, or the archive is not the published one.
    """
    names, base = [*LISTED, *OTHERS], Published.base_folder
    wanted = [name for name in LISTED if name.startswith(split)] + OTHERS[: split != "unlabeled"]
    folder = root if any((root / name).is_file() for name in names) else root / base
    if not any((folder / name).is_file() for name in names):
        archive = root if root.is_file() else root / Published.filename
        if not archive.is_file() and download:
            fetch(Published.url, archive, Published.tgz_md5)
        if not archive.is_file():
            raise DataError(
                f"{root} has no STL-10: expected a folder {base} with {', '.join(wanted)}, or "
                f"{Published.filename}; get it from {Published.url}, or let --data.download do so"
            )
        folder = unpack_tar(archive, base, names, md5=Published.tgz_md5, url=Published.url)
    found = [name for name in names if (folder / name).is_file()]
    if missing := [name for name in wanted if name not in found]:
        raise DataError(f"{folder} lacks {', '.join(missing)}; found {', '.join(found)}; {AGAIN}")
    optional = OTHERS if split == "train" else OTHERS[:1]
    for name in {*wanted, *optional}.intersection(found):
        check_no_page(folder / name, AGAIN, expected="a file of STL-10")
    return folder


def _count(path: Path, labels: int | None) -> int:
    """The number of images in a file, by its size, which must be that of the labels if there are some."""
    size = path.stat().st_size
    wrong = not size or size % PIXELS if labels is None else size != labels * PIXELS
    if wrong:
        expected = (
            f"a multiple of {PIXELS} (officially {100_000 * PIXELS})"
            if labels is None
            else f"{labels * PIXELS}, {PIXELS} for each of {labels} labels"
        )
        raise DataError(f"{path}: {size} bytes, expected {expected}; it may be cut short, {AGAIN}")
    return size // PIXELS


def _class_names(folder: Path) -> tuple[str, ...]:
    """The names of the classes; none if an unlabeled split comes without the file."""
    path = folder / Published.class_names_file
    return names_in_lines(path.read_bytes(), str(path)) if path.is_file() else ()


def _read_labels(path: Path, num_classes: int) -> Array:
    """0-based labels (N,) int64, from the 1-based bytes of the file."""
    labels = np.fromfile(path, np.uint8).astype(np.int64)
    if not labels.size:
        raise DataError(f"{path} is empty; {AGAIN}")
    wrong = np.flatnonzero((labels < 1) | (labels > num_classes))
    if wrong.size:
        raise DataError(
            f"{path}: label {labels[wrong[0]]} of image {wrong[0]}, expected 1 to {num_classes}, the number "
            f"of lines in {Published.class_names_file}"
        )
    return labels - 1


def _read_folds(path: Path, count: int, rows: Array) -> tuple[Tensor, ...]:
    """Ten lines of 0-based image numbers, as the places of these images among `rows`; () without the file."""
    if not path.is_file():
        return ()
    place = np.full(count, -1)
    place[rows] = np.arange(len(rows))
    lines = [line.split() for line in path.read_text("latin1").splitlines() if line.strip()]
    for number, line in enumerate(lines, 1):
        if wrong := [word for word in line if not (word.isdecimal() and int(word) < count)]:
            raise DataError(f"{path}, line {number}: {wrong[0]!r}, expected image numbers 0 to {count - 1}")
    lengths = [len(line) for line in lines]
    if len(lines) != 10 or len(set(lengths)) != 1:
        raise DataError(f"{path}: lines of {lengths} numbers, expected ten of one length; {AGAIN}")
    folds = (place[[int(word) for word in line]] for line in lines)
    return tuple(torch.from_numpy(fold[fold >= 0]) for fold in folds)
