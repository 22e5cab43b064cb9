"""The objectives of the core: pure functions from scores to one loss per anchor, in log space.

All take cosine scores, not logits, and return a loss per anchor; the caller averages. Both directions of
Tian et al., 2020, and every kind of negatives and feature maps go through these functions.
"""

import math
from dataclasses import dataclass
from typing import Literal

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
    """NegativeSums-contrastive estimation with the critic of Tian et al., 2020 (Eq. 18 and 19), per anchor.

    With ℓ = s/τ − log Z − log(K/M) the critic h = e^{s/τ}/Z / (e^{s/τ}/Z + K/M) is σ(ℓ), and the loss is
    −log σ(ℓ⁺) − Σ_K log σ(−ℓ⁻) = softplus(−ℓ⁺) + Σ_K softplus(ℓ⁻): no exp, no eps, no overflow.

    Args:
        positive: scores of the positive pairs, (B,).
        negative: scores of the negative pairs, (B, N); a masked pair has a hugely negative score.
        temperature: τ.
        log_z: log Z, the constant that normalizes e^{s/τ}; 0 for the paper's own form without it.
        log_ratio: log(K/M), K negative pairs per positive pair, M samples in the data set.
        weight: how many negative pairs each column stands for; K/(M−1) where the columns are the whole bank.

    Returns:
        Losses, (B,), summed over the negatives.
    """
    shift = log_z + log_ratio
    # softplus(s/τ − c) = softplus_β(s − τ·c)/τ with β = 1/τ, without a pass over the scores to divide them.
    negatives = (
        F.softplus(_wide(negative) - temperature * shift, beta=1 / temperature).sum(dim=1) / temperature
    )
    return F.softplus(shift - _wide(positive) / temperature) + weight * negatives


def infonce(positive: Tensor, negative: Tensor, *, temperature: float, weight: float = 1.0) -> Tensor:
    """InfoNCE (van den Oord et al., 2018): cross-entropy of the positive against the negatives, per anchor.

    −log(e^{s⁺/τ} / (e^{s⁺/τ} + w·Σ e^{s⁻/τ})) = softplus(log Σ e^{s⁻/τ} + log w − s⁺/τ). There is no Z.
    An anchor without negatives (all of them masked) has loss 0 and gradient 0.

    Args:
        positive: scores of the positive pairs, (B,).
        negative: scores of the negative pairs, (B, N); a masked pair has a hugely negative score.
        temperature: τ.
        weight: how many negative pairs each column stands for; K/(M−1) where the columns are the whole bank.

    Returns:
        Losses, (B,).
    """
    negatives = torch.logsumexp(_wide(negative) / temperature, dim=1) + math.log(weight)
    return F.softplus(negatives - _wide(positive) / temperature)


def relational(
    positive: Tensor,
    negative: Tensor,
    target_positive: Tensor,
    target_negative: Tensor,
    *,
    temperature: float,
    teacher_temperature: float,
    weight: float = 1.0,
) -> Tensor:
    """Cross-entropy between two distributions of similarities over the same candidates, per anchor.

    −Σ_j p_t(j)·log p_s(j) with p_s = softmax(s/τ) of the student's scores and p_t = softmax(t/τ_t) of the
    teacher's, j over the positive and the negatives (SEED, Fang et al., 2021; ReSSL, Zheng et al., 2021). A
    column that stands for w pairs counts w times. The targets get no gradient. As τ_t goes to 0 it becomes
    `infonce`, if the teacher is nearest to itself; an anchor without negatives has loss 0 and gradient 0.

    Args:
        positive: the student's scores of the positive pairs, (B,).
        negative: the student's scores of the negative pairs, (B, N); a masked pair's is hugely negative.
        target_positive: the teacher's scores of the same pairs, (B,).
        target_negative: the teacher's scores of the same negatives, (B, N).
        temperature: τ.
        teacher_temperature: τ_t; a lower one makes sharper targets.
        weight: how many negative pairs each column stands for.

    Returns:
        Losses, (B,).
    """

    def logits(of_positive: Tensor, of_negatives: Tensor, tau: float) -> Tensor:
        # A column of w pairs has the logarithm of w more, in the sum and in the target.
        negatives = _wide(of_negatives) / tau + math.log(weight)
        return torch.cat([_wide(of_positive).unsqueeze(1) / tau, negatives], dim=1)

    student = logits(positive, negative, temperature)
    target = logits(target_positive.detach(), target_negative.detach(), teacher_temperature).softmax(dim=1)
    pairs = torch.cat([positive.unsqueeze(1), negative], dim=1)
    return student.logsumexp(dim=1) - (target * _wide(pairs)).sum(dim=1) / temperature


@dataclass(frozen=True)
class Rule:
    """An objective with its constants, as the fused kernel takes it: `nce` and `infonce` in closed form."""

    objective: Literal["nce", "infonce"]
    temperature: float
    shift: Tensor | float = 0.0
    """log Z + log(K/M), of nce."""
    weight: float = 1.0

    def finish(self, positive: Tensor, negatives: "NegativeSums") -> tuple[Tensor, Tensor, Tensor]:
        """Losses (b,), their derivatives by the positives' scores (b,), and the factor (b,) by which `pull`
        is the derivative by the anchors, as far as it comes from the negatives.

        Args:
            positive: scores of the positive pairs, (b,).
            negatives: sums over all negative pairs of these anchors.
        """
        t = self.temperature
        if self.objective == "nce":
            gap = self.shift - positive / t
            losses = F.softplus(gap) + self.weight * negatives.total
            return losses, gap.sigmoid().div_(-t), torch.full_like(positive, self.weight / t)
        gap = negatives.top + negatives.total.log() + math.log(self.weight) - positive / t
        share = gap.sigmoid()
        return F.softplus(gap), share / -t, share / (t * negatives.total)


class NegativeSums:
    """Sums over the negative pairs of some anchors, accumulated part by part.

    Attributes:
        total: NCE: Σ softplus(ℓ), (b,). InfoNCE: Σ e^{s/τ − top}, (b,).
        top: InfoNCE: the largest s/τ so far, (b,).
        pull: Σ w·row with w = σ(ℓ) or e^{s/τ − top}, (b, d).
    """

    def __init__(self, rule: Rule, anchors: Tensor) -> None:
        self.rule = rule
        self.total = anchors.new_zeros(len(anchors))
        self.top = anchors.new_full((len(anchors),), -torch.inf)
        self.pull = torch.zeros_like(anchors)

    def weigh(self, scores: Tensor, part: slice = slice(None)) -> Tensor:
        """Take in scores (b, n) of more negatives of the anchors in `part`, and return their weights; the
        scores are overwritten."""
        scaled = scores.div_(self.rule.temperature)
        if self.rule.objective == "nce":
            scaled.sub_(self.rule.shift)
            self.total[part] += F.softplus(scaled).sum(dim=1)
            return scaled.sigmoid_()
        before = self.top[part]
        top = torch.maximum(before, scaled.amax(dim=1))
        fade = (before - top).exp()
        weights = scaled.sub_(top.unsqueeze(1)).exp_()
        self.total[part] = self.total[part] * fade + weights.sum(dim=1)
        self.pull[part] *= fade.unsqueeze(1)
        self.top[part] = top
        return weights
