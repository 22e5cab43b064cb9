"""Scores against bank rows, fused with the objective and its gradient, a block of anchors at a time.

The loss is a mean of terms that each read one anchor's scores. So a block of anchors can be scored, judged
and differentiated before the next is touched: what stays is a gradient of the anchors' own size, never the
(B, M) scores nor the (B, K, d) gathered rows. And as the backward pass reads nothing but those gradients,
the bank may be overwritten between the forward and the backward pass.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

#: (positive (b,), negative (b, N)) -> losses (b,).
Objective = Callable[[Tensor, Tensor], Tensor]

#: The score of a pair that is no negative. Finite, so that an anchor whose pairs are all masked has a loss
#: and a gradient of exactly zero instead of inf − inf.
MASKED = -1e9

#: Elements of the largest array of one block. On a CPU a block stays near the caches; on a GPU it is large
#: enough to fill the device.
_BLOCK = {"cpu": 2**22}
_BLOCK_DEFAULT = 2**26

#: A product with fewer anchors than this reads the whole bank for little work: several times slower on a CPU
#: at M = 1.3 million. So many anchors' scores take 8/d of the bank's own size.
_PRODUCT_ANCHORS = 8

#: One product over the whole bank, then a gather of K columns, against a gather of K rows, then K products:
#: the product is the cheaper one up to this many bank rows per drawn row (benchmarks/contrast.py).
_ROWS_PER_DRAW = 16


def prefers_product(num_rows: int, num_draws: int) -> bool:
    """Whether scoring all of `num_rows` costs less than gathering `num_draws` of them for every anchor."""
    return num_rows <= _ROWS_PER_DRAW * num_draws


def contrast(
    objective: Objective,
    z: Tensor,
    positive: Tensor,
    noise: Tensor,
    *,
    columns: Tensor | None = None,
    owner: Tensor | None = None,
    noise_owner: Tensor | None = None,
) -> Tensor:
    """The mean over the anchors of `objective(positive scores, negative scores)`, scored in fp32 or wider.

    Gradients reach z, positive and noise where they ask for them; autocast is off inside. First derivatives
    only; tensors that `objective` closes over get none.

    Args:
        objective: losses (b,) from scores (b,) and (b, N); every loss must depend on its own row alone.
        z: anchors, (B, d).
        positive: the counterpart of each anchor, (B, d).
        noise: candidates for negatives, (N, d).
        columns: the rows of `noise` that each anchor meets, (B, K); all of them where absent.
        owner: who each anchor belongs to, (B,). A candidate of the same owner is no negative.
        noise_owner: who each candidate belongs to, (N,); −1 for an empty place; its row number where absent.

    Returns:
        A scalar.
    """
    dtype = torch.promote_types(z.dtype, torch.float32)
    with torch.autocast(z.device.type, enabled=False):
        return _Contrast.apply(
            z.to(dtype), positive.to(dtype), noise.to(dtype), objective, columns, owner, noise_owner
        )


@torch.no_grad()
def log_sum_exp(
    z: Tensor,
    positive: Tensor,
    noise: Tensor,
    *,
    temperature: float,
    weight: float = 1.0,
    columns: Tensor | None = None,
    owner: Tensor | None = None,
    noise_owner: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """log Σ e^{s/τ} over all pairs of the batch, true and noise, and the number of each (for log Z).

    Arguments as in `contrast`; `weight` as in `objectives.nce`.

    Returns:
        The logarithm of the sum, the number of true pairs and the number of noise pairs: three scalars.
    """
    dtype = torch.promote_types(z.dtype, torch.float32)
    z, positive, noise = z.to(dtype), positive.to(dtype), noise.to(dtype)
    sums, count = [], z.new_zeros(())
    with torch.autocast(z.device.type, enabled=False):
        for block in _blocks(z, noise, columns):
            p, n, _ = _scores(z, positive, noise, columns, owner, noise_owner, block)
            noise_sum = torch.logsumexp(n / temperature, dim=1) + math.log(weight)
            sums.append(torch.logaddexp(p / temperature, noise_sum))
            count += weight * (n > MASKED / 2).sum()
    return torch.logsumexp(torch.cat(sums), dim=0), z.new_tensor(float(len(z))), count


def _blocks(z: Tensor, noise: Tensor, columns: Tensor | None) -> Iterator[slice]:
    """Slices of anchors whose largest array has about `_BLOCK` elements."""
    budget = _BLOCK.get(z.device.type, _BLOCK_DEFAULT)
    if columns is not None and not prefers_product(len(noise), columns.shape[1]):
        # A quarter: the gathered rows are read again for the scores and for the gradient, while in the cache.
        step = max(1, budget // 4 // (columns.shape[1] * z.shape[1]))
    else:
        step = max(_PRODUCT_ANCHORS, budget // max(1, len(noise)))
    for start in range(0, len(z), step):
        yield slice(start, start + step)


def _scores(
    z: Tensor,
    positive: Tensor,
    noise: Tensor,
    columns: Tensor | None,
    owner: Tensor | None,
    noise_owner: Tensor | None,
    block: slice,
) -> tuple[Tensor, Tensor, Tensor]:
    """Positive (b,) and negative (b, N or K) scores of a block, and what its gradient needs again:
    the gathered rows (b, K, d), or the (b, N) array of the product, free to be overwritten."""
    anchors = z[block]
    p = (anchors * positive[block]).sum(dim=1)
    if columns is not None and not prefers_product(len(noise), columns.shape[1]):
        chosen = columns[block]
        scratch = noise.index_select(0, chosen.reshape(-1)).view(*chosen.shape, -1)
        return p, torch.bmm(scratch, anchors.unsqueeze(2)).squeeze(2), scratch
    scratch = anchors @ noise.T
    if columns is not None:
        return p, scratch.gather(1, columns[block]), scratch
    if owner is not None and noise_owner is None:
        scratch.scatter_(1, owner[block].unsqueeze(1), MASKED)
    elif owner is not None and noise_owner is not None:
        mask = (owner[block].unsqueeze(1) == noise_owner) | (noise_owner < 0)
        scratch.masked_fill_(mask, MASKED)
    return p, scratch, scratch


class _Contrast(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        z: Tensor,
        positive: Tensor,
        noise: Tensor,
        objective: Objective,
        columns: Tensor | None,
        owner: Tensor | None,
        noise_owner: Tensor | None,
    ) -> Tensor:
        needs_z, needs_positive, needs_noise = ctx.needs_input_grad[:3]
        if needs_noise and columns is not None:
            raise ValueError("rows drawn by column must be constant; drop `columns` or detach `noise`")
        grad_z = torch.empty_like(z) if needs_z else None
        grad_positive = torch.empty_like(positive) if needs_positive else None
        grad_noise = torch.zeros_like(noise) if needs_noise else None
        total = z.new_zeros(())
        for block in _blocks(z, noise, columns):
            p, n, scratch = _scores(z, positive, noise, columns, owner, noise_owner, block)
            if not (needs_z or needs_positive or needs_noise):
                total += objective(p, n).sum()
                continue
            with torch.enable_grad():
                loss = objective(p.requires_grad_(), n.requires_grad_()).sum()
            total += loss.detach()
            grad_p, grad_n = torch.autograd.grad(loss, (p, n))
            if grad_z is not None:
                grad_z[block] = _weighted_rows(grad_n, noise, columns, scratch.detach(), block)
                grad_z[block] += grad_p.unsqueeze(1) * positive[block]
            if grad_positive is not None:
                grad_positive[block] = grad_p.unsqueeze(1) * z[block]
            if grad_noise is not None:
                grad_noise.addmm_(grad_n.T, z[block])
        ctx.save_for_backward(grad_z, grad_positive, grad_noise)
        ctx.count = len(z)
        return total / len(z)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        scale = grad / ctx.count
        return (*(None if g is None else g * scale for g in ctx.saved_tensors), None, None, None, None)


def _weighted_rows(
    weights: Tensor, noise: Tensor, columns: Tensor | None, scratch: Tensor, block: slice
) -> Tensor:
    """Σ_k weights_k · noise_k for each anchor of a block, (b, d)."""
    if columns is None:
        return weights @ noise
    if scratch.dim() == 3:
        return torch.bmm(weights.unsqueeze(1), scratch).squeeze(1)
    return scratch.zero_().scatter_add_(1, columns[block], weights) @ noise
