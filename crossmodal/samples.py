"""What a run over stored modalities reads: labeled pairs to train and to judge with, pairs without labels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data import (
    DataError,
    Encoding,
    NYUDepth,
    PackedPairs,
    SyntheticRooms,
    decode_once,
    join,
    read_rows,
    select,
    subset,
)
from ..engine import Accelerator
from .config import DataConfig
from .keeping import content_of, keep
from .own_files import check_parts, find_parts, groups_of

PARTS = ("train", "test", "unlabeled")


@dataclass(frozen=True)
class Samples:
    """Pairs in three parts, those that there are; each is a data set of its modalities and, where a sample
    has labels, `label`."""

    train: Any
    """Trains the student's last stage, and teachers that see labels; None if all training pairs are in
    `unlabeled`."""
    test: Any
    """Held out: judges what was trained with labels, and how well the modalities are aligned. None if
    nothing is."""
    num_classes: int
    class_names: tuple[str, ...]
    unlabeled: Any = None
    """Read by the transfer alone, beside `train`."""
    group: Tensor | None = None
    """The recording or scene of every sample of `pairs`, (M,) int64."""
    encodings: Mapping[str, Encoding] = field(default_factory=dict)
    """What the numbers in the files of a modality mean, if files were read."""

    def pairs(self, *names: str) -> Any:
        """What the transfer reads: these modalities of all training pairs, without labels."""
        parts = [part for part in (self.train, self.unlabeled) if part is not None]
        if not parts:
            raise DataError("there are no pairs to transfer from: neither a training nor an unlabeled part")
        return join(*(select(part, *names) for part in parts))

    @cached_property
    def is_labeled(self) -> bool:
        """Whether there are labels to train and to judge a segmentation with."""
        return all(part is not None and "label" in read_rows(part, [0]) for part in (self.train, self.test))

    @cached_property
    def digest(self) -> dict[str, Any]:
        """What is in the parts, by which finished stages know them."""
        parts = {"train": self.train, "unlabeled": self.unlabeled}
        return {name: content_of(part) for name, part in parts.items() if part is not None}

    def labeled_count(self, fraction: float) -> int:
        """Return the number of samples of a fraction of the training split, at least one."""
        return max(1, round(fraction * len(self.train)))

    def labeled(self, fraction: float, seed: int) -> Any:
        """Return a fraction of the training split, at least one sample, drawn by `seed`; all of it for 1."""
        if fraction == 1.0:
            return self.train
        count = self.labeled_count(fraction)
        order = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(seed))
        return subset(self.train, order[:count].sort().values.tolist())


def load_samples(
    config: DataConfig,
    modalities: Sequence[str] = ("rgb", "depth"),
    *,
    accelerator: Accelerator | None = None,
    num_workers: int = 0,
) -> Samples:
    """The pairs of a configuration: in memory if they fit in its share of it, else as `DataConfig` says.

    Args:
        modalities: that are needed; label maps come along where there are some.
        accelerator: its main process makes the cache, and prints what was guessed and found.
        num_workers: processes that decode.

    Raises:
        DataError: no root, files missing there, damaged or unpaired samples, an encoding that cannot be
            guessed; the message says what to do.
        OutputError: no room for the cache.
    """
    tell: Callable[[str], None] = print if accelerator is None else accelerator.print
    if config.source == "synthetic":
        return _rooms(config, modalities)
    if config.source == "folder":
        files = find_parts(config, config.find_root(), modalities, tell)
        kept = keep(files, config, accelerator=accelerator, num_workers=num_workers, tell=tell)
        check_parts(kept, files, config, tell)
        encodings = next(iter(files.values())).encodings
        return replace(_samples(kept, config, groups_of(files)), encodings=encodings)
    parts = _nyu(config, config.find_root(), modalities)
    return _samples(keep(parts, config, accelerator=accelerator, num_workers=num_workers, tell=tell), config)


def _samples(kept: Mapping[str, Any], config: DataConfig, group: Tensor | None = None) -> Samples:
    labeled = kept.get("train", next(iter(kept.values())))
    classes = getattr(labeled, "num_classes", None) or config.classes
    names = getattr(labeled, "class_names", ()) or tuple(str(c) for c in range(classes))
    return Samples(kept.get("train"), kept.get("test"), classes, names, kept.get("unlabeled"), group)


def _rooms(config: DataConfig, modalities: Sequence[str]) -> Samples:
    if config.sizes:
        raise DataError("rendered rooms have one size for all modalities: --data.size HEIGHT WIDTH")
    counts = (config.train_samples, config.test_samples, config.unlabeled_samples)
    # The third set is of seeds that no other configuration's first two have.
    seeds = (2 * config.seed, 2 * config.seed + 1, 2**31 + config.seed)
    parts = {
        part: decode_once(
            {"rooms": count, "seed": seed, "size": config.size},
            partial(SyntheticRooms, count, seed=seed, size=config.size),
        )
        for part, count, seed in zip(PARTS, counts, seeds, strict=True)
        if count
    }
    for name in modalities:
        if name not in parts["train"].tensors:
            raise DataError(f"the data have no {name!r}, only {', '.join(parts['train'].tensors)}")
    rooms = parts["train"]
    assert rooms.num_classes is not None
    unlabeled = parts["unlabeled"].select(*modalities) if "unlabeled" in parts else None
    return Samples(rooms, parts["test"], rooms.num_classes, rooms.class_names, unlabeled)


def _nyu(config: DataConfig, root: Path, modalities: Sequence[str]) -> Mapping[str, Any]:
    """Both official parts, or those of a packed file."""
    sizes = {name: config.size_of(name) for name in (*modalities, "label")}
    if root.suffix not in (".h5", ".hdf5"):
        return {part: NYUDepth(root, part, classes=config.classes, size=sizes) for part in ("train", "test")}
    return {part: PackedPairs(root, part, classes=config.classes, size=sizes) for part in ("train", "test")}
