"""Gathering over ranks. Every function is the identity where torch.distributed is not initialized."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..common import are_rows_equal
from ..common import equal_rows as equal_rows


def world_size() -> int:
    """Number of ranks; 1 without torch.distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number; 0 without torch.distributed."""
    return dist.get_rank() if world_size() > 1 else 0


def is_first_rank() -> bool:
    """Whether this process speaks for all of them."""
    return rank() == 0


@torch.no_grad()
def average(x: Tensor) -> Tensor:
    """The mean over ranks, the same on every rank; without gradients, and without a wait for a GPU."""
    if world_size() == 1:
        return x.detach()
    total = x.detach().clone()
    dist.all_reduce(total)
    return total / world_size()


@torch.no_grad()
def rows_of_ranks(x: Tensor) -> Sequence[int]:
    """How many rows each rank holds of what has as many as `x`; to be asked once for several such tensors.

    Ranks may hold different numbers (a last, smaller batch): they tell one another, and the host waits for
    the answer, except within `equal_rows`.
    """
    if world_size() == 1 or are_rows_equal():
        return [len(x)] * world_size()
    size = torch.tensor([len(x)], device=x.device)
    sizes = [torch.empty_like(size) for _ in range(world_size())]
    dist.all_gather(sizes, size)
    return torch.cat(sizes).tolist()


@torch.no_grad()
def gather(x: Tensor, rows: Sequence[int] | None = None) -> Tensor:
    """All ranks' rows, rank after rank, (ΣB, ...), the same on every rank; without gradients.

    Args:
        x: (B, ...).
        rows: B of every rank; `rows_of_ranks(x)` if absent.
    """
    if world_size() == 1:
        return x.detach()
    return torch.cat(_all_gather(x.detach(), rows_of_ranks(x) if rows is None else rows))


def gather_with_gradient(x: Tensor, rows: Sequence[int] | None = None) -> Tensor:
    """As `gather`; the gradient of a row is the sum of what all ranks send back to it.

    With the mean over ranks that data-parallel training takes of the weights' gradients, the result is the
    gradient of the mean of the ranks' losses.
    """
    return x if world_size() == 1 else _Gather.apply(x, rows_of_ranks(x) if rows is None else rows)


@torch.no_grad()
def fill_up(x: Tensor) -> Tensor:
    """Each entry from the one rank that does not hold zero bits there; the same bits on every rank.

    Args:
        x: contiguous, the same shape on every rank; it is filled in place.
    """
    if world_size() > 1:
        dist.all_reduce(x.view(torch.uint8))  # as bytes: exact for any type, and any backend has them
    return x


@torch.no_grad()
def smallest(value: int) -> int:
    """The smallest of the ranks' values, the same on every rank."""
    if world_size() == 1:
        return value
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    held = torch.tensor(value, dtype=torch.int64, device=device)
    dist.all_reduce(held, op=dist.ReduceOp.MIN)
    return int(held)


def _all_gather(x: Tensor, rows: Sequence[int]) -> list[Tensor]:
    padded = x.new_zeros(max(rows), *x.shape[1:])
    padded[: len(x)] = x
    received = [torch.empty_like(padded) for _ in rows]
    dist.all_gather(received, padded)
    return [part[:count] for part, count in zip(received, rows, strict=True)]


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Sequence[int]) -> Tensor:
        ctx.rows = list(rows)
        return torch.cat(_all_gather(x, rows))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        grad = grad.contiguous().clone()  # the reduction is in place, and the engine may still hold grad
        dist.all_reduce(grad)
        return grad.split(ctx.rows)[dist.get_rank()], None
