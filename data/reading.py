"""A whole data set in its order, batch by batch: for statistics and for judges."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from ..common import CrdkitError, UserError
from .batch import Batch, DataError, collate

CPU = torch.device("cpu")


def device_of(dataset: Any) -> torch.device:
    """Where a data set has its samples: its `device`, or that of the one that it wraps; else the CPU."""
    while dataset is not None:
        if isinstance(device := getattr(dataset, "device", None), torch.device):
            return device
        dataset = getattr(dataset, "dataset", None)
    return CPU


def upload(drawn: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """What was drawn on the CPU on another device, of another dtype; the host does not wait for a GPU."""
    if device.type == "cuda" and drawn.device.type == "cpu":
        drawn = drawn.to(dtype=dtype).pin_memory()  # a cast on the way would leave the pinned memory
    return drawn.to(device, dtype, non_blocking=True)


def rank_and_ranks() -> tuple[int, int]:
    """This process's rank in torch.distributed and their number; 0 and 1 without process group."""
    dist = torch.distributed
    if not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def read_rows(dataset: Any, rows: Sequence[int]) -> Batch:
    """The batch of some rows, read in this process: by the data set's `__getitems__`, if it has one.

    What is raised has a note that names the sample, or those among which it is.
    """
    reading = list(rows)
    try:
        if callable(getattr(dataset, "__getitems__", None)):
            samples = dataset.__getitems__(list(rows))
        else:
            samples = [dataset[(reading := [row])[0]] for row in rows]
    except Exception as error:
        error.add_note(f"sample {reading[0]}" if len(reading) == 1 else f"one of the samples {reading}")
        raise
    return samples if isinstance(samples, dict) else collate(samples)


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
        raise UserError(f"batch_size must be at least 1, got {batch_size}")
    rank, ranks = rank_and_ranks() if sharded else (0, 1)
    starts = range(rank * batch_size, len(dataset), batch_size * ranks)
    loader = DataLoader(
        InWorker(_Batches(dataset)),
        batch_size=None,
        sampler=_Ranges(starts, batch_size, len(dataset)),
        num_workers=0 if device_of(dataset).type != "cpu" else num_workers,
        # Without one of its own the loader draws from the global generator, which is part of a run.
        generator=torch.Generator().manual_seed(0),
    )
    for batch in loader:
        yield received(batch)


@dataclass(frozen=True)
class Unread:
    """What a worker sends in the place of what it could not read: on its way an exception would become a
    stack trace."""

    message: str
    told: bool
    """Whether it is an error of ours, whose message says all."""


class InWorker(Dataset[Any]):
    """A data set that sends an `Unread` where it raises in a worker process."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __getitem__(self, request: Any) -> Any:
        try:
            return self.dataset[request]
        except Exception as error:
            if get_worker_info() is None:
                raise
            if isinstance(error, DataError | CrdkitError):
                return Unread(str(error), told=True)
            where = ", ".join(getattr(error, "__notes__", [f"sample {request}"]))
            text = " ".join(f"{where}: {type(error).__name__}: {error}".split())
            return Unread(f"{text} (in a data worker; without workers there is a stack trace)", told=False)

    def __len__(self) -> int:
        return len(self.dataset)


def received(fetched: Any, other: type[Exception] = DataError) -> Any:
    """What a worker sent. For an `Unread` raises `DataError`, or `other` if the error was not one of ours."""
    if isinstance(fetched, Unread):
        raise (DataError if fetched.told else other)(fetched.message)
    return fetched


class _Ranges(Sampler[range]):
    def __init__(self, starts: range, batch_size: int, length: int) -> None:
        self.starts, self.batch_size, self.length = starts, batch_size, length

    def __iter__(self) -> Iterator[range]:
        return (range(start, min(start + self.batch_size, self.length)) for start in self.starts)

    def __len__(self) -> int:
        return len(self.starts)


class _Batches(Dataset[Batch]):
    """Batches by their rows."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __getitem__(self, rows: range) -> Batch:
        return read_rows(self.dataset, rows)
