"""Gathering over ranks. Every function is the identity where torch.distributed is not initialized."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


def world_size() -> int:
    """Number of ranks; 1 without torch.distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_first_rank() -> bool:
    """Whether this process speaks for all of them."""
    return world_size() == 1 or dist.get_rank() == 0


@torch.no_grad()
def average(x: Tensor) -> Tensor:
    """The mean over ranks, the same on every rank; without gradients, and without a wait for a GPU."""
    if world_size() == 1:
        return x.detach()
    total = x.detach().clone()
    dist.all_reduce(total)
    return total / world_size()


@torch.no_grad()
def gather(x: Tensor) -> Tensor:
    """All ranks' rows, rank after rank, (ΣB, ...), the same on every rank; without gradients.

    Ranks may hold different numbers of rows (a last, smaller batch).
    """
    if world_size() == 1:
        return x.detach()
    return torch.cat(_all_gather(x.detach(), _sizes(x)))


def gather_with_gradient(x: Tensor) -> Tensor:
    """As `gather`; the gradient of a row is the sum of what all ranks send back to it.

    With the mean over ranks that data-parallel training takes of the weights' gradients, the result is the
    gradient of the mean of the ranks' losses.
    """
    return x if world_size() == 1 else _Gather.apply(x)


def _sizes(x: Tensor) -> list[int]:
    size = torch.tensor([len(x)], device=x.device)
    sizes = [torch.empty_like(size) for _ in range(world_size())]
    dist.all_gather(sizes, size)
    return torch.cat(sizes).tolist()


def _all_gather(x: Tensor, sizes: list[int]) -> list[Tensor]:
    padded = x.new_zeros(max(sizes), *x.shape[1:])
    padded[: len(x)] = x
    received = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(received, padded)
    return [rows[:size] for rows, size in zip(received, sizes, strict=True)]


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.sizes = _sizes(x)
        return torch.cat(_all_gather(x, ctx.sizes))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.contiguous().clone()  # the reduction is in place, and the engine may still hold grad
        dist.all_reduce(grad)
        return grad.split(ctx.sizes)[dist.get_rank()]
