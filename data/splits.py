"""Labeled images to train and to test on, by a configuration."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .config import ImagesConfig
from .datasets.image_folder import ImageFolder
from .in_memory import PairedTensors
from .io.hdf5 import open_hdf5
from .sources import load_images
from .statistics import Statistics
from .transforms.augment import ImageAugment

UNLABELED = ("packed", "shapes", "stl10")
"""Sources that may have a split without labels."""


@dataclass(frozen=True)
class ImageSplits:
    """Both splits, and what belongs to them."""

    train: Any
    """A data set of `rgb` and `label`, with `labels` (M,)."""
    test: Any
    statistics: Statistics | None
    """The configured mean and deviation; None if they are to be measured."""
    augment: nn.Module
    """batch -> batch, on the batch's device."""
    plain: Any
    """The training split as it is without augmentation, for statistics and features."""
    unlabeled: Any = None
    """What a transfer without labels reads, `rgb` and `index`: the split without labels if there is one, else
    the training split without its labels. None unless it was asked for."""

    def measure_statistics(self, *, num_workers: int = 0) -> Statistics:
        """Of the training images, without augmentation."""
        return Statistics.measure(self.plain, num_workers=num_workers)

    @property
    def num_classes(self) -> int:
        """C; where the data do not say it, one more than the largest label."""
        return int(self.train.num_classes or self.train.labels.max() + 1)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the labels, in their order; () where the data do not say them."""
        return tuple(getattr(self.test, "class_names", ()))

    @property
    def reading(self) -> dict[str, Any]:
        """How `read_modality` reads files as these images were: its `resize`, if it is not the default."""
        return {"resize": "center-crop"} if isinstance(self.test, ImageFolder) else {}

    def content(self) -> dict[str, Tensor]:
        """By what a run knows the images: all pixels where they are in memory, else the labels."""
        return self.train.tensors if isinstance(self.train, PairedTensors) else {"labels": self.train.labels}


def load_splits(
    config: ImagesConfig, device: torch.device, *, augment: bool = True, unlabeled: bool = False
) -> ImageSplits:
    """Read the images of a configuration; those that fit into memory are put on the device.

    Args:
        config: which images.
        device: where they are put.
        augment: whether the training images are to be augmented; features are extracted from plain ones.
        unlabeled: whether to read what a transfer without labels reads.

    Raises:
        DataError, ValueError: no root, files missing or damaged; the message says what to do.
    """

    def read(split: str, *, augment: bool) -> Any:
        return load_images(
            config.source,
            config.root,
            split,
            size=config.size,
            classes=config.classes,
            augment=augment,
            download=config.download,
        )

    train, test = read("train", augment=augment), read("test", augment=False)
    statistics = None
    if config.mean is not None and config.std is not None:
        statistics = Statistics(mean={"rgb": config.mean}, std={"rgb": config.std})
    device_augment: nn.Module = nn.Identity()  # a folder's images are augmented by the loader's workers
    if isinstance(train, PairedTensors) and isinstance(test, PairedTensors):
        train, test = train.to(device), test.to(device)
        device_augment = ImageAugment(config.augment) if augment else device_augment
    plain = read("train", augment=False) if isinstance(train, ImageFolder) else train
    without_labels = _load_unlabeled(config, train) if unlabeled else None
    return ImageSplits(train, test, statistics, device_augment, plain, without_labels)


def _load_unlabeled(config: ImagesConfig, train: Any) -> Any:
    """In memory on the device of the training split, if that is."""
    if config.source not in UNLABELED or (config.source == "packed" and not _has_unlabeled(config.root)):
        if isinstance(train, PairedTensors):
            return train.select(*(name for name in train.tensors if name != "label"))
        return train
    found = load_images(config.source, config.root, "unlabeled", size=config.size, download=config.download)
    return found.to(train.device) if isinstance(found, PairedTensors) else found


def _has_unlabeled(path: Path | None) -> bool:
    if path is None:
        return False
    with open_hdf5(path) as file:
        return "unlabeled" in file
