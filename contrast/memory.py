"""The memory: a row per sample (`MemoryBank`) or the latest vectors (`FeatureQueue`); all in buffers."""

import math
from collections.abc import Iterator, Sequence
from typing import get_args

import torch
from torch import Tensor, nn

from ..common import UserError, ask_large_pages
from .checks import check_choice, check_momentum, check_positive, check_room
from .config import MemoryDtype
from .distributed import gather_with_gradient
from .heads import normalize

MEMORY_DTYPES = get_args(MemoryDtype)

#: Rows that are drawn at a time: 32 MiB of 128 numbers in fp32.
_BLOCK = 2**16


class MemoryBank(nn.Module):
    """One vector per sample of the data set, (M, d), for one side, on the module's device.

    Rows start as U(±1/√(d/3)), not normalized, as published; a row's expected squared norm is 1. They are
    drawn from one stream of torch's generator, so that every bank of a seed starts with the same bits.

    Args:
        num_samples: M.
        embed_dim: d.
        momentum: m in row ← normalize(m·row + (1−m)·z), in [0, 1).
        dtype: of the rows, "float32" or "bfloat16"; they are mixed and normalized in fp32.
    """

    rows: Tensor

    def __init__(
        self, num_samples: int, embed_dim: int, *, momentum: float = 0.5, dtype: str = "float32"
    ) -> None:
        super().__init__()
        if num_samples < 2:
            raise UserError(f"num_samples must be at least 2, got {num_samples}")
        check_positive(embed_dim=embed_dim)
        check_momentum(momentum)
        check_choice("dtype", dtype, MEMORY_DTYPES)
        self.num_samples, self.momentum = num_samples, momentum
        self.register_buffer("rows", self._start(embed_dim, getattr(torch, dtype)))

    @property
    def size(self) -> int:
        """Rows that negatives are drawn from."""
        return self.num_samples

    def samples(self, places: Tensor) -> Tensor:
        """The samples that drawn places in [0, size) belong to."""
        return places

    def take(self, places: Tensor) -> Tensor:
        """The rows at places in [0, size), (N, d), on the places' device."""
        return self.rows.index_select(0, places)

    def read(self, index: Tensor) -> Tensor:
        """The rows of samples, (B, d), on the index's device."""
        return self.take(index)

    @torch.no_grad()
    def update(self, index: Tensor, z: Tensor) -> None:
        """Write row ← normalize(m·row + (1−m)·z); all other rows stay as they are, bit for bit.

        Of several entries with the same index the first one counts, on any device. A vector that is not
        finite leaves its row as it is.

        Args:
            index: rows to write, (B,).
            z: their vectors, (B, d).
        """
        rows, finite = self.rows.index_select(0, index), z.isfinite().all(dim=1, keepdim=True)
        wide = torch.promote_types(rows.dtype, torch.float32)
        mixed = normalize(self.momentum * rows.to(wide) + (1 - self.momentum) * z.to(wide))
        rows = mixed.to(rows.dtype).where(finite, rows)
        # Repeated indices all write their first occurrence's row: the order of the writes is all one.
        self.rows.index_copy_(0, index, rows.index_select(0, first_occurrence(index)))

    def extra_repr(self) -> str:
        return f"{self.num_samples}, {self.rows.shape[1]}, momentum={self.momentum}"

    def _start(self, embed_dim: int, dtype: torch.dtype) -> Tensor:
        bound = start_bound(embed_dim)
        return new_rows(self.num_samples, embed_dim, dtype).uniform_(-bound, bound)


class FeatureQueue(nn.Module):
    """The latest `length` vectors, for data sets too large for a row per sample, and for map positions.

    A ring: a write that crosses the end goes on at the start, nothing is dropped. Each vector keeps
    the id of its sample, which is not contrasted with itself of a few steps ago; −1 marks an empty place.

    Args:
        length: number of vectors.
        embed_dim: d.
    """

    rows: Tensor
    ids: Tensor
    write_position: Tensor

    def __init__(self, length: int, embed_dim: int) -> None:
        super().__init__()
        check_positive(length=length, embed_dim=embed_dim)
        remedy = "lower the queue's length or embed_dim"
        check_room("a queue", length, embed_dim, dtype=torch.float32, remedy=remedy)
        self.register_buffer("rows", torch.zeros(length, embed_dim))
        self.register_buffer("ids", torch.full((length,), -1, dtype=torch.int64))
        self.register_buffer("write_position", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def push(self, ids: Tensor, z: Tensor) -> None:
        """Write vectors in order over the oldest ones; of more than `length` the last `length` stay.

        The place of a vector that is not finite is left empty.

        Args:
            ids: id of each vector's sample or group, (N,), not negative.
            z: vectors, (N, d).
        """
        length = len(self.rows)
        skipped = max(0, len(z) - length)
        finite = z.isfinite().all(dim=1)
        z, ids = z.where(finite.unsqueeze(1), 0.0), ids.where(finite, -1)
        places = (self.write_position + torch.arange(skipped, len(z), device=self.rows.device)) % length
        self.rows.index_copy_(0, places, z[skipped:].to(self.rows.dtype))
        self.ids.index_copy_(0, places, ids[skipped:])
        self.write_position.copy_((self.write_position + len(z)) % length)

    def extra_repr(self) -> str:
        return f"{self.rows.shape[0]}, {self.rows.shape[1]}"


class RecentVectors(nn.Module):
    """One side's vectors as candidates: those of all ranks' batch, then a queue of the latest ones before it.

    Args:
        embed_dim: d.
        queue_size: vectors of the queue; 0 for none.
    """

    def __init__(self, embed_dim: int, queue_size: int) -> None:
        super().__init__()
        check_positive(embed_dim=embed_dim)
        if queue_size < 0:
            raise UserError(f"queue_size must not be negative, got {queue_size}")
        self.queue = FeatureQueue(queue_size, embed_dim) if queue_size else None

    def candidates(self, z: Tensor, batch_sizes: Sequence[int]) -> Tensor:
        """Return all vectors, (N, d): the rank's own z, (B, d), and the other ranks' with gradients, the
        queue's without.

        Args:
            batch_sizes: B of each rank.
        """
        z = gather_with_gradient(z, batch_sizes)
        return z if self.queue is None else torch.cat([z, self.queue.rows.to(z.dtype)])

    def candidate_ids(self, ids: Tensor) -> Tensor:
        """Return the id of each candidate, (N,), from the ids of all ranks' batch; −1 for an empty place."""
        return ids if self.queue is None else torch.cat([ids, self.queue.ids])

    def push(self, ids: Tensor, z: Tensor) -> None:
        """Add the vectors of all ranks to the queue."""
        if self.queue is not None:
            self.queue.push(ids, z)


def new_rows(number: int, embed_dim: int, dtype: torch.dtype) -> Tensor:
    """Memory for a bank, (N, d), on the current device, on large pages where the system has them.

    Raises:
        ValueError: it is more than what is free.
    """
    remedy = (
        "lower num_samples or embed_dim, take bfloat16 rows, negatives='batch', or shared negatives from "
        "another bank ('mapped')"
    )
    check_room("a memory bank", number, embed_dim, dtype=dtype, remedy=remedy)
    rows = torch.empty(number, embed_dim, dtype=dtype)
    if rows.device.type == "cpu":
        ask_large_pages(rows.data_ptr(), rows.nbytes)
    return rows


def start_bound(embed_dim: int) -> float:
    """Rows start uniform in ± this."""
    return 1 / math.sqrt(embed_dim / 3)


def first_rows(num_samples: int, embed_dim: int, dtype: torch.dtype) -> Iterator[Tensor]:
    """The rows that a `MemoryBank` starts with, on the CPU, bit for bit, in blocks of (N, d)."""
    bound = start_bound(embed_dim)
    for start in range(0, num_samples, _BLOCK):
        size = (min(_BLOCK, num_samples - start), embed_dim)
        yield torch.empty(size, dtype=dtype, device="cpu").uniform_(-bound, bound)


def first_occurrence(index: Tensor) -> Tensor:
    """For each entry the position of the first entry of the same value, (B,), without a device sync."""
    values, order = index.sort(stable=True)
    position = torch.arange(len(index), device=index.device)
    starts = torch.ones_like(values, dtype=torch.bool)
    starts[1:] = values[1:] != values[:-1]
    group = torch.cummax(position * starts, dim=0).values
    return torch.empty_like(order).index_copy_(0, order, order.index_select(0, group))
