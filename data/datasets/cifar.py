"""CIFAR-10 and CIFAR-100 through torchvision, as samples with stable indices."""

import os
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from ...common import UserError
from ..batch import DataError
from ..in_memory import PairedTensors
from ..io.archives import check_md5, fetch, unpack_tar
from ..io.decode import Size, check_size, stack_color
from ..labels import Classes, check_labels, select_classes


class CIFAR10(PairedTensors):
    """CIFAR-10 in memory: `rgb` (N, 3, 32, 32) uint8, `label` (N,); 50,000 for `train`, 10,000 for `test`.

    Read by torchvision from `cifar-10-batches-py`, or from `cifar-10-python.tar.gz`, which is unpacked there
    once. The files are pickles: the MD5 of each is compared with the published one before any is opened.

    Args:
        root: the folder of the archive or of its folder, or either itself.
        split: `train` or `test`.
        size: (height, width) to resize to; None for 32 × 32.
        classes: the first n classes, or a list of names or numbers; label i is the i-th of them, and `index`
            counts the images that remain. None for all.
        download: fetch the archive if nothing is there.

    Raises:
        DataError: nothing there, a checksum that differs (expected and actual), a web page in the place of an
            archive, a download that fails.
        ValueError: an unknown split or class.
    """

    title: ClassVar[str] = "CIFAR10"
    """The name of torchvision's data set."""

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str = "train",
        *,
        size: Size | None = None,
        classes: Classes = None,
        download: bool = False,
    ) -> None:
        from torchvision import datasets

        size = check_size(size)
        if split not in ("train", "test"):
            raise UserError(f"{self.title} has the splits train and test, got {split!r}")
        library = getattr(datasets, self.title)
        place = _checked(library, Path(root), download)
        read = library(place, train=split == "train")
        names = tuple(str(name) for name in read.classes)
        where = f"{place / library.base_folder} ({split})"
        images = read.data.transpose(0, 3, 1, 2)
        labels = check_labels(np.array(read.targets), len(images), len(names), where)
        if classes is not None:
            rows, labels, names = select_classes(classes, labels, names, where)
            images = images[rows]
        if size is not None:
            pictures = ((f"image {row}", image.transpose(1, 2, 0)) for row, image in enumerate(images))
            images = stack_color(pictures, len(images), size)
        rgb = torch.from_numpy(np.ascontiguousarray(images))
        super().__init__(rgb=rgb, label=torch.from_numpy(labels))
        self.class_names, self.num_classes = names, len(names)


class CIFAR100(CIFAR10):
    """CIFAR-100 with its fine labels in memory; like `CIFAR10` in everything else."""

    title = "CIFAR100"


def _checked(library: Any, root: Path, download: bool) -> Path:
    """The folder of torchvision's folder, every file of which is the published one."""
    if root.name in (library.base_folder, library.filename):
        root = root.parent
    files = {**dict(library.train_list + library.test_list), library.meta["filename"]: library.meta["md5"]}
    folder, archive = root / library.base_folder, root / library.filename
    if not folder.is_dir():
        if not archive.is_file():
            if not download:
                raise DataError(
                    f"{root} has neither {library.base_folder} nor {library.filename}: get it from "
                    f"{library.url}, or let --data.download do so"
                )
            fetch(library.url, archive, library.tgz_md5)
        unpack_tar(archive, library.base_folder, files, md5=library.tgz_md5, url=library.url)
    for name, md5 in files.items():
        check_md5(folder / name, md5, library.url)
    return root
