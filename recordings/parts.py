"""Pairs in a user's own files: found, surveyed, split by group; guesses and warnings are reported."""

from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..common import UserError
from ..data import DataError, PairedTensors, evenly_spaced, parse_encodings, subset, with_depth_scale
from .caching import Report
from .config import DataConfig
from .duplicates import near_duplicates
from .figures import resolve, survey
from .find import table_parts
from .folder_pairs import FolderPairs
from .groups import split_by_group
from .label_maps import check_label_parts
from .packed_pairs import PackedPairs
from .stored_pairs import StoredPairs

PARTS = ("train", "test", "unlabeled")
COMPARED = 2000
"""Samples of each part that are looked at for near-duplicates if they have to be decoded for it."""


def find_parts(
    config: DataConfig, root: Path, modalities: Sequence[str], report: Report
) -> Mapping[str, FolderPairs | PackedPairs]:
    """Find the splits that there are, by name, with their encodings, and label maps where there are some.

    Raises:
        DataError: files that do not pair, numbers of unknown meaning, nothing to split by.
        ValueError: an encoding or a place that is none.
    """
    places = _places(config.files)
    if root.suffix in (".h5", ".hdf5"):
        return _of_packed(config, root, modalities, places)
    encodings = with_depth_scale(parse_encodings(config.encoding), config.depth_scale)
    parts: dict[str, FolderPairs] = {}
    if root.is_file():
        columns = table_parts(root)
        for part in (part for part in PARTS if part in columns):
            parts[part] = _of_table(config, root, modalities, part, columns[part])
        if not parts and "" in columns:
            parts = _split(config, _of_table(config, root, modalities, None, columns[""]))
        elif not parts:
            raise DataError(
                f"{root}: its column split has none of {', '.join(PARTS)}, but {', '.join(columns)}"
            )
    elif any((root / part).is_dir() for part in PARTS):
        for part in PARTS:
            if (root / part).is_dir():
                parts[part] = _of_folder(config, root / part, modalities, places)
    else:
        parts = _split(config, _of_folder(config, root, modalities, places))
    known = {name for part in parts.values() for name in part.modalities}
    if odd := sorted(encodings.keys() - known):
        raise UserError(f"--data.encoding names {odd[0]}, which is none of {', '.join(sorted(known))}")
    encodings, lines = resolve(encodings, survey(parts))
    for line in lines:
        report(line)
    return {
        name: part.with_encodings({m: e for m, e in encodings.items() if m in part.modalities})
        for name, part in parts.items()
    }


def group_of_each(parts: Mapping[str, FolderPairs | PackedPairs]) -> Tensor | None:
    """(M,) int64: the group of every sample of `train`, then of `unlabeled`, by its name; None if a part has
    none."""
    names: list[str] = []
    for part in ("train", "unlabeled"):
        if part in parts:
            groups = parts[part].groups
            if groups is None:
                return None
            own = getattr(parts[part], "group_names", ())
            names += [own[number] if own else str(number) for number in groups]
    return torch.from_numpy(np.unique(np.array(names), return_inverse=True)[1].astype(np.int64))


def check_parts(
    cached: Mapping[str, Any],
    files: Mapping[str, FolderPairs | PackedPairs],
    config: DataConfig,
    report: Report,
) -> None:
    """Report classes without training pixels, and test frames that nearly duplicate training frames.

    Args:
        cached: the splits as they will be read.
        files: the same splits, read from their files.

    Raises:
        DataError: label maps in which nothing could be learned.
    """
    labeled = {name: cached[name] for name, part in files.items() if "label" in part.modalities}
    if "train" in labeled:
        for line in check_label_parts(labeled, config.classes):
            report(f"warning: {line}")
    for name in ("train", "unlabeled"):
        if name in cached and "test" in cached:
            modality = next(iter(files[name].modalities))
            one, other = (_some(cached[part]) for part in (name, "test"))
            if alike := near_duplicates(one, other, modality=modality):
                count = len({row for _, row in alike})
                report(
                    f"warning: {count} of {len(other)} frames of test that were looked at are nearly frames "
                    f"of {name}: the test is easier than new recordings. Split by recording: --data.group"
                )


def _places(files: Sequence[str]) -> dict[str, str]:
    places = {}
    for text in files:
        name, equals, place = text.partition("=")
        if not (equals and name and place):
            raise UserError(f"--data.files takes NAME=FOLDER or NAME=PATTERN, got {text!r}")
        places[name] = place
    return places


def _of_folder(
    config: DataConfig, root: Path, modalities: Sequence[str], places: Mapping[str, str]
) -> FolderPairs:
    chosen = {name: places.get(name, name) for name in modalities}
    label = places.get("label", "label")
    if "label" in places or (root / label).is_dir():
        chosen["label"] = label
    tolerance = config.tolerance if config.match == "time" else None
    return FolderPairs(root, chosen, match=config.match, tolerance=tolerance, **_options(config, chosen))


def _of_table(
    config: DataConfig, table: Path, modalities: Sequence[str], part: str | None, columns: Set[str]
) -> FolderPairs:
    chosen = [*modalities, *(["label"] if "label" in columns else [])]
    return FolderPairs.from_table(table, chosen, split=part, **_options(config, chosen))


def _of_packed(
    config: DataConfig, file: Path, modalities: Sequence[str], places: Mapping[str, str]
) -> dict[str, PackedPairs]:
    """The parts of an HDF5 file: its data sets of row numbers."""
    encodings = parse_encodings(config.encoding)
    names = PackedPairs.contents(file)
    parts = {}
    for part in (part for part in PARTS if part in names):
        chosen = {name: places.get(name, name) for name in modalities}
        if part != "unlabeled" and places.get("label", "label") in names:
            chosen["label"] = places.get("label", "label")
        parts[part] = PackedPairs(
            file,
            part,
            size={name: config.size_of(name) for name in chosen},
            modalities=chosen,
            depth_scale=config.depth_scale,
            encodings={name: encodings[name] for name in chosen if name in encodings},
        )
    if not parts:
        raise DataError(f"{file} has none of {', '.join(PARTS)}, data sets of row numbers")
    return parts


def _split(config: DataConfig, pairs: FolderPairs) -> dict[str, FolderPairs]:
    """One folder in two parts, no group in both."""
    if pairs.groups is None:
        raise DataError(
            f"{pairs.root} has none of {', '.join(PARTS)}: it can be split by recording. Say what a "
            "recording is: --data.group parent, or a regular expression over the paths with one group. "
            "Frames of one recording are too alike to be split frame by frame"
        )
    train, test = split_by_group(pairs, config.test_fraction, config.seed)
    return {"train": pairs.subset(train), "test": pairs.subset(test)}


def _options(config: DataConfig, names: Sequence[str] | Mapping[str, str]) -> dict[str, Any]:
    return {
        "size": {name: config.size_of(name) for name in names},
        "num_classes": config.classes if "label" in names else None,
        "group": config.group,
    }


def _some(part: Any) -> Any:
    """All samples that are decoded already; else evenly spaced ones."""
    if isinstance(part, PairedTensors | StoredPairs) or len(part) <= COMPARED:
        return part
    return subset(part, evenly_spaced(len(part), COMPARED))
