"""Parts of data sets, and data sets one after the other, whatever they are kept in."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch

from .batch import Batch, BatchDataset, DataError
from .reading import device_of, read_rows, upload


def select(dataset: Any, *names: str) -> Any:
    """A data set without its other modalities: by its own `select`, if it has one, so that they are not even
    read. Raises `DataError` for a modality that it does not have."""
    own = getattr(dataset, "select", None)
    return own(*names) if callable(own) else SelectedPairs(dataset, names=names)


def subset(dataset: Any, rows: Sequence[int]) -> Any:
    """Some rows of a data set as one of their own, whose `index` is 0 … len(rows) - 1."""
    own = getattr(dataset, "subset", None)
    return own(rows) if callable(own) else SelectedPairs(dataset, rows=rows)


def evenly_spaced(length: int, most: int) -> list[int]:
    """Up to `most` row numbers of so many, evenly spaced, the first and the last among them."""
    count = min(length, most)
    return [round(i * (length - 1) / max(count - 1, 1)) for i in range(count)]


def join(*parts: Any) -> Any:
    """Data sets with the same modalities as one; a single one as it is."""
    return parts[0] if len(parts) == 1 else JoinedPairs(*parts)


class SelectedPairs(BatchDataset):
    """Some modalities, or some rows, of a data set.

    Args:
        dataset: `__len__` and `__getitem__` or `__getitems__`.
        names: the modalities; None for all.
        rows: their numbers in `dataset`, in this order; None for all.
    """

    def __init__(
        self, dataset: Any, *, names: Sequence[str] | None = None, rows: Sequence[int] | None = None
    ) -> None:
        self.dataset = dataset
        self.names = None if names is None else tuple(names)
        self.rows = None if rows is None else torch.as_tensor(rows, dtype=torch.int64)
        if self.rows is not None and len(self.rows):
            low, high = int(self.rows.min()), int(self.rows.max())
            if low < 0 or high >= len(dataset):
                raise DataError(f"rows from {low} to {high} of a set of {len(dataset)}")

    def __len__(self) -> int:
        return len(self.dataset) if self.rows is None else len(self.rows)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        index = torch.as_tensor(indices, dtype=torch.int64)
        batch = read_rows(self.dataset, (index if self.rows is None else self.rows[index]).tolist())
        missing = [name for name in self.names or () if name not in batch]
        if missing:
            raise DataError(
                f"no modality {missing[0]!r}; there are {', '.join(n for n in batch if n != 'index')}"
            )
        kept = {name: batch[name] for name in self.names or batch if name != "index"}
        return {"index": upload(index, device_of(self.dataset)), **kept}


class JoinedPairs(BatchDataset):
    """Data sets one after the other; `index` counts on from one to the next.

    Args:
        parts: with the same modalities, of the same sizes, on one device.
    """

    def __init__(self, *parts: Any) -> None:
        devices = {device_of(part) for part in parts}
        if len(devices) != 1:
            raise DataError(f"the parts must be on one device, got {', '.join(map(str, devices))}")
        self.parts, self.device = parts, next(iter(devices))
        self.starts = [0, *accumulate(map(len, parts))]

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        index = [int(i) for i in indices]
        homes = [bisect_right(self.starts, i) - 1 for i in index]
        places: list[int] = []
        found: list[Batch] = []
        for number in sorted(set(homes)):
            here = [place for place, home in enumerate(homes) if home == number]
            rows = [index[place] - self.starts[number] for place in here]
            found.append(read_rows(self.parts[number], rows))
            places += here
        names = {name for batch in found for name in batch}
        if any(names != batch.keys() for batch in found):
            raise DataError(f"the parts differ in their modalities: {[sorted(batch) for batch in found]}")
        order = torch.tensor(places).argsort()
        order, rows = upload(torch.stack([order, torch.as_tensor(index)]), self.device)
        batch = {name: torch.cat([part[name] for part in found])[order] for name in found[0]}
        return {**batch, "index": rows}
