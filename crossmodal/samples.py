"""What a run that segments reads: paired samples in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..data import DataError, FolderPairs, NYUDepth, PackedPairs, PairedTensors, SyntheticRooms
from .config import DataConfig

NYU_HELP = (
    "put nyu_depth_v2_labeled.mat and splits.mat there "
    "(from https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html; classMapping40.mat and "
    "class13Mapping.mat for the class maps), or name a packed .h5 file"
)


@dataclass(frozen=True)
class Samples:
    """What the three stages train and test on."""

    train: PairedTensors
    test: PairedTensors
    num_classes: int
    class_names: tuple[str, ...]

    def labeled(self, fraction: float, seed: int) -> PairedTensors:
        """A share of the training split, at least one sample, drawn by `seed`; all of it for 1."""
        if fraction == 1.0:
            return self.train
        count = max(1, round(fraction * len(self.train)))
        order = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(seed))
        return self.train.subset(order[:count].sort().values)


def load_samples(config: DataConfig, modalities: Sequence[str] = ("rgb", "depth")) -> Samples:
    """Read the data set of a configuration into memory: the named modalities, and the label maps.

    Raises:
        DataError: no root, files missing there, damaged or unpaired samples; the message says what to do.
    """
    train, test = (_split(config, split, modalities) for split in ("train", "test"))
    for name in (*modalities, "label"):
        if name not in train.tensors:
            raise DataError(f"the data have no {name!r}, only {', '.join(train.tensors)}")
    classes = train.num_classes or config.classes
    names = train.class_names or tuple(str(c) for c in range(classes))
    return Samples(train, test, classes, names)


def _split(config: DataConfig, split: str, modalities: Sequence[str]) -> PairedTensors:
    if config.source == "synthetic":
        first = split == "train"
        return SyntheticRooms(
            config.train_samples if first else config.test_samples,
            seed=2 * config.seed + (not first),
            size=config.size,
        )
    root = _root(config)
    dataset: Any
    if config.source == "folder":
        names = {name: name for name in (*modalities, "label")}
        dataset = FolderPairs(
            root / split, names, depth_scale=config.depth_scale, num_classes=config.classes, size=config.size
        )
    elif root.suffix in (".h5", ".hdf5"):
        dataset = PackedPairs(root, split, classes=config.classes, size=config.size)
    else:
        dataset = NYUDepth(root, split, classes=config.classes, size=config.size)
    return PairedTensors.from_dataset(dataset)


def _root(config: DataConfig) -> Path:
    need = (
        NYU_HELP
        if config.source == "nyu"
        else "put train/ and test/ there, each with a folder per modality and label/"
    )
    if config.root is None:
        raise DataError(f"--data.root is missing: the source {config.source!r} reads your files; {need}")
    if not config.root.exists():
        raise DataError(f"--data.root {config.root} does not exist; {need}")
    return config.root
