"""What the contrast computes on a GPU: sums over drawn candidates, in one pass, by Triton. Experimental.

Triton's interpreter tests it on a CPU; no GPU has run it.

PyTorch alone writes the drawn rows to memory and reads them twice; here each is read once, and stays in
registers between its score and its share of the gradient. Where Triton is not installed, or does not give
what PyTorch gives, `has_gather` is False and PyTorch computes. Triton's interpreter runs it on a CPU.
"""

import importlib.util
import os
from functools import cache

import torch
from torch import Tensor

from .objectives import NegativeSums, Rule

SWITCH = "CRDKIT_NATIVE"
_ROWS, _DRAWS = 32, 1024
"""Rows at a time, and drawn rows of one program: 64 anchors with 16,384 draws are 1,024 programs."""


def fits(z: Tensor, candidates: Tensor) -> bool:
    """Whether the kernel takes such anchors and rows: on a GPU, anchors in fp32, rows in fp32 or bf16."""
    dtypes = (torch.float32, torch.bfloat16)
    return (
        z.device.type == "cuda"
        and z.dtype == torch.float32
        and candidates.dtype in dtypes
        and candidates.is_contiguous()
        and has_gather(z.device)
    )


@cache
def has_gather(device: torch.device) -> bool:
    """Whether the kernel is there, and gives what PyTorch gives on a few rows of this device."""
    if os.environ.get(SWITCH) == "0" or importlib.util.find_spec("triton") is None:
        return False
    generator = torch.Generator().manual_seed(0)
    z, candidates = (torch.randn(n, 24, generator=generator).to(device) for n in (3, 40))
    columns = torch.randint(40, (3, 1300), generator=generator).to(device)
    try:
        return all(
            _is_right(rule, z, candidates, columns) for rule in (Rule("nce", 0.5, 1.5), Rule("infonce", 0.5))
        )
    except Exception:  # whatever a compiler says: PyTorch is there
        return False


def gathered(rule: Rule, z: Tensor, candidates: Tensor, columns: Tensor) -> NegativeSums:
    """Return the sums over the negatives that each anchor drew; arguments as of `scores.contrast`.

    The columns are taken as they are: they must be rows of the candidates. Nothing waits for the device.
    """
    import triton  # takes a second

    from .gpu_kernel import noise_of_draws

    found, infonce = NegativeSums(rule, z), rule.objective == "infonce"
    z, columns = z.detach().contiguous(), columns.contiguous()
    (count, draws), dim = columns.shape, z.shape[1]
    parts = triton.cdiv(draws, _DRAWS)
    totals, tops = z.new_empty(2, count, parts)
    pulls = z.new_empty(count, parts, dim)
    given = rule.shift
    shift = given.to(z).reshape(1) if isinstance(given, Tensor) else z.new_full((1,), given)
    noise_of_draws[(count, parts)](
        z,
        candidates,
        columns,
        shift,
        totals,
        tops,
        pulls,
        draws,
        dim,
        1 / rule.temperature,
        DIM=triton.next_power_of_2(dim),
        ROWS=_ROWS,
        DRAWS=_DRAWS,
        INFONCE=infonce,
    )
    if infonce:
        found.top = tops.amax(dim=1)
        fade = (tops - found.top.unsqueeze(1)).exp()
        totals, pulls = totals * fade, pulls * fade.unsqueeze(2)
    found.total, found.pull = totals.sum(dim=1), pulls.sum(dim=1)
    return found


def _is_right(rule: Rule, z: Tensor, candidates: Tensor, columns: Tensor) -> bool:
    expected, found = NegativeSums(rule, z), gathered(rule, z, candidates, columns)
    rows = candidates[columns]
    weights = expected.weigh(torch.einsum("bd,bkd->bk", z, rows))
    expected.pull += torch.einsum("bk,bkd->bd", weights, rows)
    pairs = (found.total, expected.total), (found.pull, expected.pull)
    return all(torch.allclose(a, b, rtol=1e-4, atol=1e-3) for a, b in pairs)
