"""Decoded samples: in memory if they fit, in a folder if one is set, else decoded from their files."""

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import psutil

from ..common import plain
from ..data import DataError, JoinedPairs, PairedTensors, SelectedPairs, decode_once, digest
from .config import DataConfig
from .packed_pairs import PackedPairs
from .stored_pairs import StoredPairs

ROOM = Path(__file__).parent
"""The code that decodes pairs: a decoded copy is of one version of it."""

Report: TypeAlias = Callable[[str], None]
"""Prints a line."""
Once: TypeAlias = Callable[[Callable[[], None]], None]
"""Calls a function in one process of a run, while the others wait for it."""


def cache_parts(
    parts: Mapping[str, Any],
    config: DataConfig,
    *,
    num_workers: int = 0,
    report: Report = print,
    once: Once = lambda write: write(),
) -> dict[str, Any]:
    """Put each part where it fits, the smallest first.

    Args:
        parts: paired data sets by name.
        config: its `memory` and `cache` decide.
        num_workers: processes that decode.
        report: receives a line about each part that does not fit in memory.
        once: writes the cache, in one process of several.

    Raises:
        OutputError: the disk is too small for the cache.
    """
    available = config.memory * psutil.virtual_memory().total
    cached: dict[str, Any] = {}
    sizes = {name: StoredPairs.size_of(part) for name, part in parts.items()}
    for name in sorted(parts, key=lambda name: sizes[name]):
        part, size = parts[name], sizes[name]
        if size <= available:
            available -= size
            cached[name] = _in_memory(part, num_workers)
        elif config.cache is not None:
            cached[name] = _on_disk(part, size, config.cache, num_workers, report, once)
        else:
            report(
                f"{name}: {len(part)} samples of {size / 2**20:.0f} MiB do not fit in the share of memory "
                f"that --data.memory {config.memory:g} leaves: they are decoded in every epoch, by "
                "--transfer.train.num-workers processes; --data.cache FOLDER keeps them decoded on disk"
            )
            cached[name] = part
    return {name: cached[name] for name in parts}


def content_of(dataset: Any) -> Any:
    """Return what a data set contains as JSON values: digests of what is decoded, names and sizes of files.

    Raises:
        DataError: a data set of another kind without a method `fingerprint`.
    """
    if isinstance(dataset, PairedTensors):
        return digest(dataset.tensors)
    if isinstance(dataset, StoredPairs):
        return dataset.digest
    if isinstance(dataset, JoinedPairs):
        return [content_of(part) for part in dataset.parts]
    if isinstance(dataset, SelectedPairs):
        rows = None if dataset.rows is None else dataset.rows.tolist()
        return {"of": content_of(dataset.dataset), "names": plain(dataset.names), "rows": rows}
    if callable(fingerprint := getattr(dataset, "fingerprint", None)):
        return fingerprint()
    raise DataError(f"{type(dataset).__name__} has no method fingerprint(), which says what it contains")


def _in_memory(part: Any, num_workers: int) -> PairedTensors:
    decode = partial(PairedTensors.from_dataset, part, num_workers=num_workers)
    if isinstance(part, PackedPairs) and not part.encodings:
        return decode_once({"pairs": part.decoding()}, decode, file=part.path, code=ROOM)
    return decode()


def _on_disk(part: Any, size: int, folder: Path, num_workers: int, report: Report, once: Once) -> StoredPairs:
    made_from = {"content": content_of(part)}
    name = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]
    place = folder / f"pairs-{name}"

    def write() -> None:
        if StoredPairs.made_from(place) is None:
            report(f"keeping {len(part)} samples decoded in {place}: {size / 2**20:.0f} MiB")
            StoredPairs.write(part, place, fingerprint=made_from, num_workers=num_workers)

    once(write)
    return StoredPairs(place)
