"""CIFAR-10 and CIFAR-100 from the files that their authors publish."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import torch

from .archives import read_folder, read_tar
from .batch import DataError
from .images import Array, Size, check_size, stack_color
from .labels import Classes, check_labels, choose_classes, names_in_lines, rows_of
from .pickles import load_plain
from .tensors import PairedTensors

URL = "https://www.cs.toronto.edu/~kriz/cifar.html"
SIDE = 32
PIXELS = 3 * SIDE * SIDE


class _Edition(NamedTuple):
    """One of the forms that a data set is published in."""

    archive: str
    md5: str
    folder: str
    splits: Mapping[str, tuple[str, ...]]
    names: str


class _CIFAR(PairedTensors):
    """What the two have in common; a subclass says how its files are called and laid out."""

    title: ClassVar[str]
    binary: ClassVar[_Edition]
    pickled: ClassVar[_Edition]
    label_bytes: ClassVar[int]
    label_key: ClassVar[str]
    names_key: ClassVar[str]

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str = "train",
        *,
        size: Size | None = None,
        classes: Classes = None,
        verify: bool = True,
    ) -> None:
        size = check_size(size)
        if split not in self.binary.splits:
            raise ValueError(f"{self.title} has the splits train and test, got {split!r}")
        edition, path = self._find(Path(root))
        wanted = (*edition.splits[split], edition.names)
        if path.is_dir():
            files = read_folder(path, wanted)
        else:
            files = read_tar(path, edition.folder, wanted, md5=edition.md5 if verify else None, url=URL)
        decode, name_classes = (
            (self._decode_binary, names_in_lines)
            if edition is self.binary
            else (self._decode_pickle, self._names)
        )
        names = name_classes(files[edition.names], f"{path}: {edition.names}")
        parts = [decode(files[name], len(names), f"{path}: {name}") for name in edition.splits[split]]
        images, labels = (np.concatenate(side) for side in zip(*parts, strict=True))
        if classes is not None:
            chosen = choose_classes(classes, names, self.title)
            rows, labels = rows_of(labels, chosen, str(path))
            images, names = images[rows], tuple(names[number] for number in chosen)
        if size is not None:
            pictures = ((f"image {row}", image.transpose(1, 2, 0)) for row, image in enumerate(images))
            images = stack_color(pictures, len(images), size)
        super().__init__(rgb=torch.from_numpy(images), label=torch.from_numpy(labels))
        self.class_names = names
        self.num_classes = len(names)

    def _find(self, root: Path) -> tuple[_Edition, Path]:
        """The first of the four forms that is there: what needs no pickle, what has a checksum."""
        for edition in (self.binary, self.pickled):
            for path in _places(root, edition):
                if path.exists():
                    return edition, path
        raise DataError(
            f"{root} has no {self.title}: expected {self.binary.archive} or {self.pickled.archive}, or a "
            f"folder {self.binary.folder} or {self.pickled.folder} extracted from one; get one from {URL}"
        )

    def _decode_binary(self, data: bytes, num_classes: int, where: str) -> tuple[Array, Array]:
        """Records of one or two label bytes (coarse, fine) and the planes of red, green and blue."""
        record = self.label_bytes + PIXELS
        if not data or len(data) % record:
            raise DataError(f"{where}: {len(data)} bytes, not a whole number of records of {record}")
        records = np.frombuffer(data, np.uint8).reshape(-1, record)
        labels = check_labels(records[:, self.label_bytes - 1], len(records), num_classes, where)
        return records[:, self.label_bytes :].reshape(-1, 3, SIDE, SIDE), labels

    def _decode_pickle(self, data: bytes, num_classes: int, where: str) -> tuple[Array, Array]:
        content = load_plain(data, where)
        images, labels = content.get("data"), content.get(self.label_key)
        if not isinstance(images, np.ndarray) or not isinstance(labels, list):
            raise DataError(
                f"{where}: no array 'data' beside a list {self.label_key!r}; found {', '.join(content)}"
            )
        if images.dtype != np.uint8 or images.shape[1:] != (PIXELS,) or not len(images):
            raise DataError(f"{where}: data is {images.dtype} {images.shape}, expected uint8 (N, {PIXELS})")
        if not all(isinstance(label, int) for label in labels):
            raise DataError(f"{where}: {self.label_key} are not all integers")
        return images.reshape(-1, 3, SIDE, SIDE), check_labels(
            np.array(labels), len(images), num_classes, where
        )

    def _names(self, data: bytes, where: str) -> tuple[str, ...]:
        names = load_plain(data, where).get(self.names_key)
        if not isinstance(names, list) or not names:
            raise DataError(f"{where}: no list {self.names_key!r}")
        return tuple(name.decode("latin1") if isinstance(name, bytes) else str(name) for name in names)


class CIFAR10(_CIFAR):
    """CIFAR-10 in memory: `rgb` (N, 3, 32, 32) uint8, `label` (N,); 50,000 for `train`, 10,000 for `test`.

    Read from the archive `cifar-10-binary.tar.gz` or `cifar-10-python.tar.gz`, or the folder extracted from
    one; the binary form, which needs no pickle, where both are there. Nothing is downloaded or extracted.

    Args:
        root: the folder of the archive or of its folder, or either itself.
        split: `train` or `test`.
        size: (height, width) to resize to; None for 32 × 32.
        classes: the first n classes, or a list of names or numbers; label i is the i-th of them, and `index`
            counts the images that remain. None for all.
        verify: compare an archive's MD5 with the published one; False is for archives of one's own making.

    Raises:
        DataError: nothing there, a checksum that differs, a file that is cut or damaged, a web page in its
            place, a pickle that would run code.
        ValueError: an unknown split or class.
    """

    title = "CIFAR-10"
    binary = _Edition(
        "cifar-10-binary.tar.gz",
        "c32a1d4ab5d03f1284b67883e8d87530",
        "cifar-10-batches-bin",
        {"train": tuple(f"data_batch_{n}.bin" for n in range(1, 6)), "test": ("test_batch.bin",)},
        "batches.meta.txt",
    )
    pickled = _Edition(
        "cifar-10-python.tar.gz",
        "c58f30108f718f92721af3b95e74349a",
        "cifar-10-batches-py",
        {"train": tuple(f"data_batch_{n}" for n in range(1, 6)), "test": ("test_batch",)},
        "batches.meta",
    )
    label_bytes, label_key, names_key = 1, "labels", "label_names"


class CIFAR100(_CIFAR):
    """CIFAR-100 with its fine labels in memory; like `CIFAR10` in everything else."""

    title = "CIFAR-100"
    binary = _Edition(
        "cifar-100-binary.tar.gz",
        "03b5dce01913d631647c71ecec9e9cb8",
        "cifar-100-binary",
        {"train": ("train.bin",), "test": ("test.bin",)},
        "fine_label_names.txt",
    )
    pickled = _Edition(
        "cifar-100-python.tar.gz",
        "eb9058c3a382ffc7106e4002c42a8d85",
        "cifar-100-python",
        {"train": ("train",), "test": ("test",)},
        "meta",
    )
    label_bytes, label_key, names_key = 2, "fine_labels", "fine_label_names"


def _places(root: Path, edition: _Edition) -> Iterator[Path]:
    if root.name == edition.archive or (root / edition.names).is_file():
        yield root
    yield root / edition.archive
    yield root / edition.folder
