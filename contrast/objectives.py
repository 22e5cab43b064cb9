"""The two objectives of the core: pure functions from scores to one loss per anchor, in log space.

Both take cosine scores, not logits, and return a loss per anchor; the caller averages. Both directions of
Tian et al., 2020, and every kind of negatives and feature maps go through these two functions.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def _wide(scores: Tensor) -> Tensor:
    """Scores in at least fp32: e^(1/0.07) overflows fp16, and bf16 keeps two digits of s."""
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


def nce(
    positive: Tensor,
    negative: Tensor,
    *,
    temperature: float,
    log_z: Tensor | float,
    log_ratio: Tensor | float,
    weight: float = 1.0,
) -> Tensor:
    """Noise-contrastive estimation with the critic of Tian et al., 2020 (Eq. 18 and 19), per anchor.

    With ℓ = s/τ − log Z − log(K/M) the critic h = e^{s/τ}/Z / (e^{s/τ}/Z + K/M) is σ(ℓ), and the loss is
    −log σ(ℓ⁺) − Σ_K log σ(−ℓ⁻) = softplus(−ℓ⁺) + Σ_K softplus(ℓ⁻): no exp, no eps, no overflow.

    Args:
        positive: scores of the true pairs, (B,).
        negative: scores of the noise pairs, (B, N); a masked pair has a hugely negative score.
        temperature: τ.
        log_z: log Z, the constant that normalizes e^{s/τ}; 0 for the paper's own form without it.
        log_ratio: log(K/M), K noise pairs per true pair, M samples in the data set.
        weight: how many noise pairs each column stands for; K/(M−1) where the columns are the whole bank.

    Returns:
        Losses, (B,), summed over the negatives.
    """
    shift = log_z + log_ratio
    # softplus(s/τ − c) = softplus_β(s − τ·c)/τ with β = 1/τ, without a pass over the scores to divide them.
    noise = F.softplus(_wide(negative) - temperature * shift, beta=1 / temperature).sum(dim=1) / temperature
    return F.softplus(shift - _wide(positive) / temperature) + weight * noise


def infonce(positive: Tensor, negative: Tensor, *, temperature: float, weight: float = 1.0) -> Tensor:
    """InfoNCE (van den Oord et al., 2018): cross-entropy of the true pair against the noise, per anchor.

    −log(e^{s⁺/τ} / (e^{s⁺/τ} + w·Σ e^{s⁻/τ})) = softplus(log Σ e^{s⁻/τ} + log w − s⁺/τ). There is no Z.
    An anchor without negatives (all of them masked) has loss 0 and gradient 0.

    Args:
        positive: scores of the true pairs, (B,).
        negative: scores of the noise pairs, (B, N); a masked pair has a hugely negative score.
        temperature: τ.
        weight: how many noise pairs each column stands for; K/(M−1) where the columns are the whole bank.

    Returns:
        Losses, (B,).
    """
    noise = torch.logsumexp(_wide(negative) / temperature, dim=1) + math.log(weight)
    return F.softplus(noise - _wide(positive) / temperature)
