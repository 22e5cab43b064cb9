"""A whole data set in its order, batch by batch: for statistics and for judges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from .batch import Batch

CPU = torch.device("cpu")


def device_of(dataset: Any) -> torch.device:
    """Where a data set has its samples: its `device`, or that of the one that it wraps; else the CPU."""
    while dataset is not None:
        if isinstance(device := getattr(dataset, "device", None), torch.device):
            return device
        dataset = getattr(dataset, "dataset", None)
    return CPU


def read_in_order(
    dataset: Any, batch_size: int, *, num_workers: int = 0, sharded: bool = False
) -> Iterator[Batch]:
    """The batches of a data set (`__len__` and `__getitem__` or `__getitems__`), each row once.

    Args:
        num_workers: processes that read; a data set on a device is read in this one.
        sharded: of the batches every rank of torch.distributed reads its own: those whose number, divided by
            the number of ranks, leaves its rank. No batch is read twice to make their number even.

    Raises:
        ValueError: for a batch size below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    rank, ranks = 0, 1
    dist = torch.distributed
    if sharded and dist.is_available() and dist.is_initialized():
        rank, ranks = dist.get_rank(), dist.get_world_size()
    elsewhere = device_of(dataset).type != "cpu"
    yield from DataLoader(
        _Whole(dataset),
        batch_sampler=_InOrder(len(dataset), batch_size, rank, ranks),
        num_workers=0 if elsewhere else num_workers,
        collate_fn=_collate,
        # Without one of its own the loader draws from the global generator, which is part of a run.
        generator=torch.Generator().manual_seed(0),
    )


class _InOrder(Sampler[list[int]]):
    def __init__(self, length: int, batch_size: int, rank: int, ranks: int) -> None:
        self.length, self.batch_size, self.rank, self.ranks = length, batch_size, rank, ranks

    def __iter__(self) -> Iterator[list[int]]:
        for start in range(self.rank * self.batch_size, self.length, self.batch_size * self.ranks):
            yield list(range(start, min(start + self.batch_size, self.length)))

    def __len__(self) -> int:
        return len(range(self.rank * self.batch_size, self.length, self.batch_size * self.ranks))


class _Whole(Dataset[Any]):
    """Batches by their rows, in one call if the data set has one."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __getitems__(self, rows: list[int]) -> Any:
        if callable(getattr(self.dataset, "__getitems__", None)):
            return self.dataset.__getitems__(rows)
        return [self.dataset[row] for row in rows]


def _collate(samples: Any) -> Any:
    return samples if isinstance(samples, dict) else default_collate(samples)
