"""The order of the data: a pure function of (seed, epoch, offset), the same for any number of processes."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ..common import UserError, require_workers
from ..data import Batch, InWorker, device_of, read_rows, received
from .errors import WorkerError
from .rng import derive_seed, isolated_rng, seed_host
from .signals import ignore_interrupts

CPU = torch.device("cpu")


class ShardedBatchSampler(Sampler[list[int]]):
    """The batches of one epoch for one rank; give it to `DataLoader(batch_sampler=...)`.

    Every process cuts its slice out of the same global batches (`share_of`): rank after rank they are the
    batch of one process. A last, partial batch is kept.

    Args:
        length: samples in the data set.
        batch_size: samples in one global batch; all the data where it is larger than that.
        seed: with the epoch, decides the order.
        epoch: from 0.
        start: batches of the epoch to leave out, for resuming within it.
        rank, world_size: this process and the number of processes.
        shuffle: False keeps the data set's order.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        *,
        seed: int,
        epoch: int = 0,
        start: int = 0,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool = True,
    ) -> None:
        if length < 1:
            raise UserError(f"the data set must have at least 1 sample, got {length}")
        if batch_size < 1:
            raise UserError(f"batch_size must be at least 1, got {batch_size}")
        if not 0 <= rank < world_size:
            raise UserError(f"rank must be in [0, {world_size}), got {rank}")
        if not 0 <= start <= math.ceil(length / batch_size):
            raise UserError(f"start must be in [0, {math.ceil(length / batch_size)}], got {start}")
        self.length, self.batch_size, self.shuffle = length, batch_size, shuffle
        self.seed, self.epoch, self.start = seed, epoch, start
        self.rank, self.world_size = rank, world_size

    def __len__(self) -> int:
        return math.ceil(self.length / self.batch_size) - self.start

    def __iter__(self) -> Iterator[list[int]]:
        if self.shuffle:
            generator = torch.Generator().manual_seed(derive_seed("order", self.seed, self.epoch))
            order = torch.randperm(self.length, generator=generator)
        else:
            order = torch.arange(self.length)
        for first in range(self.start * self.batch_size, self.length, self.batch_size):
            batch = order[first : first + self.batch_size]
            yield batch[share_of(len(batch), self.rank, self.world_size)].tolist()


def share_of(size: int, rank: int, world_size: int) -> slice:
    """A rank's rows of a batch: the ranks' numbers differ by one at the most, and the first have more; each
    has all of a batch with fewer samples than ranks."""
    if size < world_size:
        return slice(0, size)
    share, more = divmod(size, world_size)
    first = rank * share + min(rank, more)
    return slice(first, first + share + (rank < more))


Request = tuple[int, list[int]]


class BatchSource:
    """The batches of all epochs of a training, from any position in it.

    One loader serves all epochs, so that its workers start once and read ahead over the epochs' ends.
    Random augmentation in the data set is seeded for each batch from (seed, epoch, indices): the batch
    does not depend on the number of workers, their start method, or where a run was resumed.

    Args:
        dataset: `__len__` and `__getitem__(i) -> dict of tensors`, or `__getitems__(indices)` that returns
            the samples or the whole batch at once.
        batch_size: samples in a global batch.
        epochs: passes over the data.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        *,
        batch_size: int,
        epochs: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.fetcher = _SeededFetcher(dataset, seed)
        self.length = len(dataset)  # type: ignore[arg-type]
        self.batch_size, self.epochs, self.seed = batch_size, epochs, seed
        self.rank, self.world_size = rank, world_size
        self.batches_per_epoch = len(self.sampler(0, 0))

    def sampler(self, epoch: int, start: int) -> ShardedBatchSampler:
        """The sampler of one epoch for this process."""
        return ShardedBatchSampler(
            self.length,
            self.batch_size,
            seed=self.seed,
            epoch=epoch,
            start=start,
            rank=self.rank,
            world_size=self.world_size,
        )

    def size(self, batch: int) -> int:
        """Samples in a global batch of the epoch."""
        return min(self.batch_size, self.length - batch * self.batch_size)

    def weight(self, batch: int) -> int:
        """How many samples this rank's mean over its rows of a batch counts for in the mean over ranks, so
        that the result is the mean over the batch."""
        size = self.size(batch)
        share = share_of(size, self.rank, self.world_size)
        return size if self.is_even(batch) else (share.stop - share.start) * self.world_size

    def is_even(self, batch: int) -> bool:
        """Whether all ranks have equally many rows of a batch."""
        size = self.size(batch)
        return size < self.world_size or size % self.world_size == 0

    def requests(self, epoch: int, batch: int) -> Iterator[Request]:
        """(epoch, indices) of every batch from this position to the end of the training."""
        for number in range(epoch, self.epochs):
            for indices in self.sampler(number, batch if number == epoch else 0):
                yield number, indices

    def load(
        self, epoch: int, batch: int, *, num_workers: int = 0, pin_memory: bool = False
    ) -> Iterator[dict[str, Tensor]]:
        """The batches from this position to the end; `WorkerError` if a worker dies, or the data set raises
        in one what is no `DataError`.

        A data set whose `device` is not the CPU has its samples there already: it is read in this process.
        """
        if device_of(self.fetcher.dataset).type != "cpu":
            num_workers, pin_memory = 0, False
        require_workers(num_workers)
        loader: DataLoader[Any] = DataLoader(
            InWorker(self.fetcher),
            batch_size=None,
            sampler=_Requests(self, epoch, batch),
            num_workers=num_workers,
            pin_memory=pin_memory,
            worker_init_fn=ignore_interrupts,
            # Without one of its own the loader draws from the global generator, which is part of the run.
            generator=torch.Generator().manual_seed(0),
        )
        batches = iter(loader)
        while True:
            try:
                fetched = next(batches)
            except StopIteration:
                return
            except RuntimeError as error:
                if num_workers and "DataLoader worker" in str(error):
                    raise WorkerError(
                        f"a data worker died ({str(error).splitlines()[0]}); often memory ran out: "
                        f"try fewer than num_workers={num_workers}"
                    ) from error
                raise
            yield received(fetched, WorkerError)

    def fetch(self, epoch: int, batch: int) -> dict[str, Tensor]:
        """One batch again, in this process; for naming the samples of a batch that went wrong."""
        return self.fetcher[next(self.requests(epoch, batch))]


class _Requests(Sampler[Request]):
    def __init__(self, source: BatchSource, epoch: int, batch: int) -> None:
        self.source, self.position = source, (epoch, batch)

    def __iter__(self) -> Iterator[Request]:
        return self.source.requests(*self.position)


class _SeededFetcher(Dataset[Batch]):
    """Fetches whole batches, with the global generators seeded for each and put back afterwards."""

    def __init__(self, dataset: Dataset[Any], seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def __getitem__(self, request: Request) -> Batch:
        epoch, indices = request
        with isolated_rng(CPU):
            seed_host(derive_seed("batch", self.seed, epoch, *indices))
            return read_rows(self.dataset, indices)
