"""Scores against bank rows, fused with the objective and its gradient, a part of the candidates at a time.

The loss is a mean of terms that each read one anchor's scores, and its derivative by the anchor is a sum of
rows with weights that the scores decide. So every part of the candidates can be scored, weighted and added up
before the next is touched: what stays is of the anchors' own size, never the (B, M) scores nor the (B, K, d)
gathered rows. And as the backward pass reads nothing but gradients that are there already, the bank may be
overwritten between the forward and the backward pass.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import gpu, native
from .objectives import NegativeSums, Rule

#: The score of a pair that is no negative. Finite, so that an anchor whose pairs are all masked has a loss
#: and a gradient of exactly zero instead of inf − inf.
MASKED = -1e9

#: Elements of the largest array of one part. On a CPU a part stays near the caches; on a GPU it is large
#: enough to fill the device.
_BLOCK = {"cpu": 2**22}
_BLOCK_DEFAULT = 2**26
#: Of gathered rows, which are read for the scores and again for the gradient: on a CPU from the second cache.
_GATHERED = {"cpu": 2**18}
_GATHERED_DEFAULT = 2**24
#: Rows of the candidates that are scored at a time against all anchors of a block, likewise.
_TILE = {"cpu": 4096}

#: A product with fewer anchors than this reads the whole bank for little work: several times slower on a CPU
#: at M = 1.3 million. So many anchors' scores take 8/d of the bank's own size.
_PRODUCT_ANCHORS = 8

#: One product over the whole bank, then a gather of K columns, against a gather of K rows, then K products:
#: the product is the cheaper one up to this many bank rows per drawn row (benchmarks/contrast.py).
_ROWS_PER_DRAW = 16


def prefers_product(num_rows: int, num_draws: int) -> bool:
    """Whether, in PyTorch alone, scoring all of `num_rows` costs less than gathering `num_draws` of them for
    every anchor."""
    return num_rows <= _ROWS_PER_DRAW * num_draws


class Pairs(NamedTuple):
    """The pairs of anchors and candidates that are negatives; all of them by default."""

    columns: Tensor | None = None
    """Rows of the candidates that each anchor is scored against, (B, K); None for all."""
    anchor_ids: Tensor | None = None
    """Id of each anchor, (B,). A candidate with the same id is no negative."""
    candidate_ids: Tensor | None = None
    """Id of each candidate, (N,); −1 for an empty place; its row number where absent."""


def contrast(
    rule: Rule, z: Tensor, positive: Tensor, candidates: Tensor, **selection: Tensor | None
) -> Tensor:
    """Return the mean over the anchors of the rule's losses, scored in fp32 or wider.

    Gradients reach z, positive and candidates if they require them; autocast is off inside. First
    derivatives only; the rule's constants get none.

    Args:
        rule: the objective.
        z: anchors, (B, d).
        positive: the counterpart of each anchor, (B, d).
        candidates: candidates for negatives, (N, d); of a narrower type they are widened as they are read.
        selection: fields of `Pairs`.

    Returns:
        A scalar.
    """
    dtype = torch.promote_types(z.dtype, torch.float32)
    if candidates.requires_grad:
        candidates = candidates.to(dtype)
    with torch.autocast(z.device.type, enabled=False):
        return _Contrast.apply(z.to(dtype), positive.to(dtype), candidates, rule, Pairs(**selection))


@torch.no_grad()
def log_sum_exp(
    z: Tensor,
    positive: Tensor,
    candidates: Tensor,
    *,
    temperature: float,
    weight: float = 1.0,
    **selection: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """log Σ e^{s/τ} over all pairs of the batch, positive and negative, and the number of each (for log Z).

    Arguments as of `soft_nearest`.

    Returns:
        The logarithm of the sum, the number of positives and the number of negatives: three scalars.
    """
    of_all, _ = soft_nearest(z, positive, candidates, temperature=temperature, weight=weight, **selection)
    columns, anchor_ids, candidate_ids = Pairs(**selection)
    if columns is not None:
        count: Tensor | float = columns.numel()
    elif anchor_ids is None:
        count = len(z) * len(candidates)
    elif candidate_ids is None:
        count = len(z) * (len(candidates) - 1)
    else:
        count = ((anchor_ids.unsqueeze(1) != candidate_ids) & (candidate_ids >= 0)).sum()
    return torch.logsumexp(of_all, dim=0), z.new_tensor(float(len(z))), z.new_tensor(weight) * count


@torch.no_grad()
def soft_nearest(
    z: Tensor,
    positive: Tensor,
    candidates: Tensor,
    *,
    temperature: float,
    weight: float = 1.0,
    **selection: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """log Σ e^{s/τ} over the pairs of each anchor, positive and negative, (B,), and the mean of the other
    side with the weights softmax(s/τ), (B, d): that logarithm's derivative by z, times τ.

    Arguments as in `contrast`; `weight` as in `objectives.nce`.
    """
    dtype = torch.promote_types(z.dtype, torch.float32)
    z, positive = z.to(dtype), positive.to(dtype)
    with torch.autocast(z.device.type, enabled=False):
        found = _negative_sums(Rule("infonce", temperature), z, candidates, Pairs(**selection))
        of_true = (z * positive).sum(dim=1) / temperature
        top = found.top + math.log(weight)
        of_all = torch.logaddexp(of_true, top + found.total.log())
        share_true, share = (of_true - of_all).exp(), (top - of_all).exp()
        mean = found.pull.mul_(share.unsqueeze(1)).addcmul_(share_true.unsqueeze(1), positive)
    return of_all, mean


class _Contrast(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, z: Tensor, positive: Tensor, candidates: Tensor, rule: Rule, pairs: Pairs
    ) -> Tensor:
        needs_z, needs_positive, needs_noise = ctx.needs_input_grad[:3]
        if needs_noise and pairs.columns is not None:
            raise ValueError("rows drawn by column must be constant; drop `columns` or detach `candidates`")
        scores = (z * positive).sum(dim=1)
        grad_noise = torch.zeros_like(candidates) if needs_noise else None
        if grad_noise is None:
            found = _negative_sums(rule, z, candidates, pairs)
            losses, by_score, factor = rule.finish(scores, found)
            grad_z = factor.unsqueeze(1) * found.pull
        else:
            losses, by_score, grad_z = torch.empty_like(scores), torch.empty_like(scores), torch.empty_like(z)
            for block in _anchors(z, len(candidates)):
                ids = None if pairs.anchor_ids is None else pairs.anchor_ids[block]
                part, weights = _weighed(rule, z[block], candidates, pairs._replace(anchor_ids=ids))
                losses[block], by_score[block], factor = rule.finish(scores[block], part)
                grad_z[block] = part.pull.mul_(factor.unsqueeze(1))
                grad_noise.addmm_(weights.mul_(factor), z[block])
        grad_z = torch.addcmul(grad_z, by_score.unsqueeze(1), positive)
        grad_positive = by_score.unsqueeze(1) * z
        ctx.save_for_backward(
            grad_z if needs_z else None, grad_positive if needs_positive else None, grad_noise
        )
        ctx.count = len(z)
        return losses.sum() / len(z)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        scale = grad / ctx.count
        return (*(None if g is None else g * scale for g in ctx.saved_tensors), None, None)


def _negative_sums(rule: Rule, z: Tensor, candidates: Tensor, pairs: Pairs) -> NegativeSums:
    """Return the sums over the negatives of each anchor, in the way that is fastest for these sizes."""
    columns = pairs.columns
    if columns is not None:
        if native.fits(z, candidates) and native.kernel() is not None:
            return native.gathered(rule, z, candidates, columns)
        if gpu.fits(z, candidates):
            return gpu.gathered(rule, z, candidates, columns)
        in_torch = _by_product if prefers_product(len(candidates), columns.shape[1]) else _gathered
        return in_torch(rule, z, candidates, columns)
    if rule.objective == "nce" and native.fits(z, candidates) and native.kernel() is not None:
        return native.multiplied(rule, z, candidates, pairs.anchor_ids, pairs.candidate_ids)
    found = NegativeSums(rule, z)
    tile = _TILE.get(z.device.type, len(candidates))
    for block in _anchors(z, min(tile, len(candidates))):
        rows = min(tile, max(1, _budget(z) // len(z[block])))
        for start in range(0, len(candidates), rows):
            part = slice(start, start + rows)
            weights = found.weigh(_scores(z, candidates, pairs, block, part), block)
            found.pull[block] += weights @ candidates[part].to(z.dtype)
    return found


def _by_product(rule: Rule, z: Tensor, candidates: Tensor, columns: Tensor) -> NegativeSums:
    """Scores of all rows, of which the drawn ones are taken."""
    found, wide = NegativeSums(rule, z), candidates.to(z.dtype)
    for block in _anchors(z, len(candidates)):
        scratch = z[block] @ wide.T
        weights = found.weigh(scratch.gather(1, columns[block]), block)
        found.pull[block] += scratch.zero_().scatter_add_(1, columns[block], weights) @ wide
    return found


def _gathered(rule: Rule, z: Tensor, candidates: Tensor, columns: Tensor) -> NegativeSums:
    """The drawn rows alone, in an array that is kept from part to part."""
    found, (count, draws), dim = NegativeSums(rule, z), columns.shape, z.shape[1]
    budget = min(_budget(z), _GATHERED.get(z.device.type, _GATHERED_DEFAULT))
    most = min(draws, max(1, budget // dim))
    step = max(1, budget // (most * dim))
    kept = candidates.new_empty(step * most, dim)
    for start in range(0, count, step):
        block = slice(start, start + step)
        for first in range(0, draws, most):
            chosen = columns[block, first : first + most]
            rows = torch.index_select(candidates, 0, chosen.reshape(-1), out=kept[: chosen.numel()])
            rows = rows.view(*chosen.shape, dim).to(z.dtype)
            weights = found.weigh(torch.bmm(rows, z[block].unsqueeze(2)).squeeze(2), block)
            found.pull[block] += torch.bmm(weights.unsqueeze(1), rows).squeeze(1)
    return found


def _weighed(rule: Rule, z: Tensor, candidates: Tensor, pairs: Pairs) -> tuple[NegativeSums, Tensor]:
    """Return the sums over all candidates for each anchor, and the weights of all pairs, (N, B)."""
    if rule.objective == "nce" and native.fits(z, candidates) and native.kernel() is not None:
        weights = z.new_empty(len(candidates), len(z))
        _, anchor_ids, candidate_ids = pairs
        return native.multiplied(rule, z, candidates, anchor_ids, candidate_ids, weights=weights), weights
    found = NegativeSums(rule, z)
    weights = found.weigh(_scores(z, candidates, pairs, slice(None), slice(None)))
    found.pull += weights @ candidates
    return found, weights.T


def _budget(z: Tensor) -> int:
    return _BLOCK.get(z.device.type, _BLOCK_DEFAULT)


def _anchors(z: Tensor, width: int) -> Iterator[slice]:
    """Slices of anchors whose scores of `width` rows have about `_BLOCK` elements."""
    step = max(_PRODUCT_ANCHORS, _budget(z) // max(1, width))
    for start in range(0, len(z), step):
        yield slice(start, start + step)


def _scores(z: Tensor, candidates: Tensor, pairs: Pairs, block: slice, part: slice) -> Tensor:
    """Return scores (b, n) of some anchors with a part of the candidates; equal ids are masked."""
    # The long side first: half as fast again on a CPU.
    scores = (candidates[part].to(z.dtype) @ z[block].T).T
    _, anchor_ids, candidate_ids = pairs
    if anchor_ids is None:
        return scores
    if candidate_ids is None:
        first, last, _ = part.indices(len(candidates))
        if last - first == len(candidates):
            return scores.scatter_(1, anchor_ids[block].unsqueeze(1), MASKED)
        own = torch.arange(first, last, device=z.device)
        return scores.masked_fill_(anchor_ids[block].unsqueeze(1) == own, MASKED)
    own = candidate_ids[part]
    return scores.masked_fill_((anchor_ids[block].unsqueeze(1) == own) | (own < 0), MASKED)
