"""The kernel of `gpu.py`; importing it imports Triton."""

import triton
import triton.language as tl


@triton.jit
def noise_of_draws(  # type: ignore[no-untyped-def]
    z,
    bank,
    columns,
    shift,
    totals,
    tops,
    pulls,
    draws,
    dim,
    scale,
    DIM: tl.constexpr,
    ROWS: tl.constexpr,
    DRAWS: tl.constexpr,
    INFONCE: tl.constexpr,
):
    """One anchor and DRAWS of its rows: total, top and pull of `objectives.Noise`, to be put together.

    z (B, dim), bank (M, dim), columns (B, draws), shift (1,) become totals and tops (B, parts) and pulls
    (B, parts, dim).
    """
    anchor_number, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
    place = anchor_number * tl.num_programs(1) + part
    d = tl.arange(0, DIM)
    inside = d < dim
    anchor = tl.load(z + anchor_number * dim + d, mask=inside, other=0.0)
    pull = tl.zeros([DIM], tl.float32)
    total = 0.0
    top = float("-inf")
    for start in range(part * DRAWS, tl.minimum(draws, (part + 1) * DRAWS), ROWS):
        k = start + tl.arange(0, ROWS)
        drawn = k < draws
        row = tl.load(columns + anchor_number * draws + k, mask=drawn, other=0)
        found = drawn[:, None] & inside[None, :]
        rows = tl.load(bank + row[:, None] * dim + d[None, :], mask=found, other=0.0).to(tl.float32)
        score = tl.sum(rows * anchor[None, :], axis=1) * scale
        if INFONCE:
            score = tl.where(drawn, score, float("-inf"))
            most = tl.maximum(top, tl.max(score, axis=0))
            fade = tl.exp(top - most)
            weight = tl.exp(score - most)
            total = total * fade + tl.sum(weight, axis=0)
            pull = pull * fade
            top = most
        else:
            logit = score - tl.load(shift)
            e = tl.exp(-tl.abs(logit))
            # log(1 + e) of a small e by its series: 1 + e drops its last digits.
            rest = tl.where(e < 1e-3, e * (1.0 - e * (0.5 - e * 0.33333333)), tl.log(1.0 + e))
            total += tl.sum(tl.where(drawn, tl.maximum(logit, 0.0) + rest, 0.0), axis=0)
            weight = tl.where(drawn, tl.where(logit > 0, 1.0, e) / (1.0 + e), 0.0)
        pull += tl.sum(rows * weight[:, None], axis=0)
    tl.store(totals + place, total)
    tl.store(tops + place, top)
    tl.store(pulls + place * dim + d, pull, mask=inside)
