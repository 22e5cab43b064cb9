"""Batch normalization by the statistics of all ranks' samples."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode


def shared_statistics(wanted: bool) -> AbstractContextManager[Any]:
    """`SharedStatistics` if wanted and if there are several ranks; may be entered again and again."""
    several = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    return SharedStatistics() if wanted and several else nullcontext()


class SharedStatistics(TorchFunctionMode):
    """Inside, every batch norm in training mode, of whatever class, is `batch_norm`; the modules stay as they
    are, and what is in eval mode, such as a teacher, keeps its own statistics."""

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return (batch_norm if func is F.batch_norm else func)(*args, **(kwargs or {}))


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`torch.nn.functional.batch_norm`, in training over the samples of all ranks, on CPUs and GPUs alike.

    Ranks may hold different numbers of samples, at least one each, and call it equally often. Each message
    holds 2·C numbers: one in the forward pass and one in the backward pass. The running statistics end with
    the same bits on all ranks.

    Args:
        input: (B, C, ...), whose statistics are computed in fp32 at the least.
    """
    if not training:
        return F.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    output, mean, var, count = _Normalize.apply(input, weight, bias, eps)
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            unbiased = var * (count / (count - 1).clamp_min(1))
            for running, found in ((running_mean, mean), (running_var, unbiased)):
                running.mul_(1 - momentum).add_(found, alpha=momentum)
    return output


class _Normalize(torch.autograd.Function):
    """Returns the output, the mean (C,), the biased variance (C,) and the number of values of each, ()."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Any:
        wide, dims, channels = _widened(x), [0, *range(2, x.ndim)], x.shape[1]
        var, mean = torch.var_mean(wide, dims, correction=0)
        own = torch.cat([mean, var, mean.new_full((1,), x.numel() / channels)])
        parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, own)
        means, variances, counts = torch.stack(parts).split([channels, channels, 1], dim=1)
        count = counts.sum()
        mean = (counts * means).sum(0) / count
        var = (counts * (variances + (means - mean).square())).sum(0) / count
        scale = (var + eps).rsqrt()
        ctx.save_for_backward(x, weight, mean, scale, count)
        ctx.mark_non_differentiable(mean, var, count)
        output = (wide - _along(mean, x)) * _along(scale, x)
        if weight is not None:
            output = output * _along(weight, x)
        if bias is not None:
            output = output + _along(bias, x)
        return output.to(x.dtype), mean, var, count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Any) -> Any:
        x, weight, mean, scale, count = ctx.saved_tensors
        grad, dims = _widened(grad), [0, *range(2, x.ndim)]
        normalized = (_widened(x) - _along(mean, x)) * _along(scale, x)
        own = torch.stack([grad.sum(dims), (grad * normalized).sum(dims)])
        shared = own.clone()
        dist.all_reduce(shared)
        level, slope = shared / count
        factor = scale if weight is None else scale * weight
        back = (grad - _along(level, x) - normalized * _along(slope, x)) * _along(factor, x)
        to_weight = own[1].to(weight.dtype) if weight is not None else None
        to_bias = own[0].to(x.dtype if weight is None else weight.dtype) if ctx.needs_input_grad[2] else None
        return back.to(x.dtype), to_weight, to_bias, None


def _widened(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _along(values: Tensor, x: Tensor) -> Tensor:
    """(C,) beside (B, C, ...)."""
    return values.reshape(1, -1, *[1] * (x.ndim - 2))
