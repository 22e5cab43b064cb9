"""The paired samples of a configuration, whatever their source."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from ..data import DataError, Encoding, PairedTensors, decode_once
from .caching import ROOM, Once, Report, cache_parts
from .config import DataConfig
from .nyu import NYUDepth
from .packed_pairs import PackedPairs
from .parts import PARTS, check_parts, find_parts, group_of_each
from .synthetic_rooms.rooms import SyntheticRooms


@dataclass(frozen=True)
class LoadedParts:
    """Paired samples by split."""

    parts: Mapping[str, Any]
    """The splits that the source has, of `train`, `test` and `unlabeled`: data sets of its modalities and of
    `label`, if samples have labels."""
    group: Tensor | None = None
    """The recording or scene of each sample of `train`, then of `unlabeled`, (M,) int64."""
    encodings: Mapping[str, Encoding] = field(default_factory=dict)
    """The encoding of each modality that was read from files."""


def load_parts(
    config: DataConfig,
    modalities: Sequence[str],
    *,
    num_workers: int = 0,
    report: Report = print,
    once: Once = lambda write: write(),
) -> LoadedParts:
    """Find, check and decode the pairs of a configuration; see `cache_parts` for where they are then.

    Args:
        config: the source and how it is read.
        modalities: the modalities to read; label maps are added where there are some.
        num_workers: processes that decode.
        report: receives what was guessed, and warnings.
        once: writes the cache, in one process of several.

    Raises:
        DataError: no root, files missing there, damaged or unpaired samples, an encoding that cannot be
            guessed; the message says what to do.
        OutputError: the disk is too small for the cache.
    """
    if config.source == "synthetic":
        return LoadedParts(_render(config, modalities))
    root = config.find_root()
    if config.source == "nyu":
        parts = _nyu(config, root, modalities)
        return LoadedParts(cache_parts(parts, config, num_workers=num_workers, report=report, once=once))
    files = find_parts(config, root, modalities, report)
    cached = cache_parts(files, config, num_workers=num_workers, report=report, once=once)
    check_parts(cached, files, config, report)
    return LoadedParts(cached, group_of_each(files), next(iter(files.values())).encodings)


def _render(config: DataConfig, modalities: Sequence[str]) -> dict[str, PairedTensors]:
    if config.sizes:
        raise DataError("rendered rooms have one size for all modalities: --data.size HEIGHT WIDTH")
    counts = (config.train_samples, config.test_samples, config.unlabeled_samples)
    # The third set is of seeds that no other configuration's first two have.
    seeds = (2 * config.seed, 2 * config.seed + 1, 2**31 + config.seed)
    parts = {
        part: decode_once(
            {"rooms": count, "seed": seed, "size": config.size},
            partial(SyntheticRooms, count, seed=seed, size=config.size),
            code=ROOM,
        )
        for part, count, seed in zip(PARTS, counts, seeds, strict=True)
        if count
    }
    for name in modalities:
        if name not in parts["train"].tensors:
            raise DataError(f"the data have no {name!r}, only {', '.join(parts['train'].tensors)}")
    if "unlabeled" in parts:
        parts["unlabeled"] = parts["unlabeled"].select(*modalities)
    return parts


def _nyu(config: DataConfig, root: Path, modalities: Sequence[str]) -> dict[str, Any]:
    """Both official splits, or those of a packed file."""
    sizes = {name: config.size_of(name) for name in (*modalities, "label")}
    dataset = PackedPairs if root.suffix in (".h5", ".hdf5") else NYUDepth
    return {part: dataset(root, part, classes=config.classes, size=sizes) for part in ("train", "test")}
