"""Where the samples of a run are: in memory if they fit, decoded in a folder if one is named, or in their
files."""

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from ..common import plain
from ..data import (
    DataError,
    JoinedPairs,
    PackedPairs,
    PairedTensors,
    SelectedPairs,
    StoredPairs,
    decode_once,
)
from ..engine import Accelerator, digest, from_main
from .config import DataConfig


def keep(
    parts: Mapping[str, Any],
    config: DataConfig,
    *,
    accelerator: Accelerator | None,
    num_workers: int,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """The parts where they fit, largest last.

    Raises:
        OutputError: no room for the cache.
    """
    left = config.memory * psutil.virtual_memory().total
    kept: dict[str, Any] = {}
    sizes = {name: StoredPairs.size_of(part) for name, part in parts.items()}
    for name in sorted(parts, key=lambda name: sizes[name]):
        part, size = parts[name], sizes[name]
        if size <= left:
            left -= size
            kept[name] = _in_memory(part, num_workers)
        elif config.cache is not None:
            kept[name] = _stored(part, size, config.cache, accelerator, num_workers, tell)
        else:
            tell(
                f"{name}: {len(part)} samples of {size / 2**20:.0f} MiB do not fit in the share of memory "
                f"that --data.memory {config.memory:g} leaves: they are decoded in every epoch, by "
                "--transfer.train.num-workers processes; --data.cache FOLDER keeps them decoded on disk"
            )
            kept[name] = part
    return {name: kept[name] for name in parts}


def _in_memory(part: Any, num_workers: int) -> PairedTensors:
    decode = partial(PairedTensors.from_dataset, part, num_workers=num_workers)
    if isinstance(part, PackedPairs) and not part.encodings:
        return decode_once({"pairs": part.decoding()}, decode, file=part.path)
    return decode()


def _stored(
    part: Any,
    size: int,
    folder: Path,
    accelerator: Accelerator | None,
    num_workers: int,
    tell: Callable[[str], None],
) -> StoredPairs:
    made_from = {"content": content_of(part)}
    name = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]
    place = folder / f"pairs-{name}"
    if StoredPairs.made_from(place) is None and (accelerator is None or accelerator.is_main_process):
        tell(f"keeping {len(part)} samples decoded in {place}: {size / 2**20:.0f} MiB")
        StoredPairs.write(part, place, fingerprint=made_from, num_workers=num_workers)
    if accelerator is not None:
        from_main(accelerator, None)  # waits longer than a barrier would
    return StoredPairs(place)


def content_of(dataset: Any) -> Any:
    """What a data set holds, as JSON values: digests of what is decoded, names and sizes of files."""
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
    raise DataError(f"{type(dataset).__name__} does not say what it holds: give it a method fingerprint()")
