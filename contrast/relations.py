"""The relational objective against bank rows, fused with its gradient like `scores.contrast`.

With c̄ = Σ_j softmax(s/τ)_j · c_j, the mean of the candidates as a side weighs them, the cross-entropy of an
anchor is log Σ_j e^{s_j/τ} − z_s·c̄_t/τ and its derivative (c̄_s − c̄_t)/τ. So each side needs its c̄ alone,
which is what InfoNCE sums up, and no distribution is ever kept.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .scores import soft_nearest


def contrast_relations(
    z_s: Tensor,
    z_t: Tensor,
    candidates: Tensor,
    *,
    temperature: float,
    teacher_temperature: float,
    weight: float = 1.0,
    **selection: Tensor,
) -> Tensor:
    """The mean over the anchors of `objectives.relational`, scored in fp32 or wider.

    The scores of an anchor are those with its teacher's vector and with the candidates. The gradient is
    the student's alone; first derivatives only.

    Args:
        z_s: the student's vectors, (B, d).
        z_t: the teacher's vectors of the same samples, (B, d).
        candidates: other vectors of the teacher, (N, d).
        temperature: τ.
        teacher_temperature: τ_t.
        weight: negative pairs per column, as in `objectives.nce`.
        selection: `columns`, `anchor_ids`, `candidate_ids` of `scores.contrast`.

    Returns:
        A scalar.
    """
    dtype = torch.promote_types(z_s.dtype, torch.float32)
    z_s, z_t, candidates = z_s.to(dtype), z_t.detach().to(dtype), candidates.detach()
    options = {"weight": weight, **selection}
    with torch.autocast(z_s.device.type, enabled=False):
        return _Relations.apply(z_s, z_t, candidates, temperature, teacher_temperature, options)


class _Relations(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        z_s: Tensor,
        z_t: Tensor,
        candidates: Tensor,
        temperature: float,
        teacher_temperature: float,
        options: dict[str, Any],
    ) -> Tensor:
        log_sum, mean = soft_nearest(z_s, z_t, candidates, temperature=temperature, **options)
        _, target = soft_nearest(z_t, z_t, candidates, temperature=teacher_temperature, **options)
        losses = log_sum - (z_s * target).sum(dim=1) / temperature
        ctx.save_for_backward((mean - target) / (temperature * len(z_s)))
        return losses.sum() / len(z_s)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return (grad * ctx.saved_tensors[0], *[None] * 5)
