"""Probabilistic knowledge transfer: whom each sample is near to, as a distribution."""

from torch import Tensor

from ..common import NonNegative
from .ops import check_batch, full_precision, unit
from .spec import FeatureSpec
from .term import SelectOutputs, StatelessLoss, Term

#: Published; a similarity of 0 (opposite vectors) would otherwise have an infinite logarithm.
_EPS = 1e-7


@full_precision
def pkt(student: Tensor, teacher: Tensor) -> Tensor:
    """Probabilistic knowledge transfer: KL of the samples' similarity distributions.

    p[i] is (1 + cos(x_i, x_j)) / 2 over all j of the batch, i included, divided by its sum; L is the mean of
    p_t log(p_t / p_s) over all B² entries. Passalis & Tefas, Learning Deep Representations with
    Probabilistic Knowledge Transfer, 2018, Eq. 6 to 8.

    Args:
        student: (B, D).
        teacher: (B, D').

    Raises:
        ValueError: for other than two axes, or different batches.
    """
    check_batch(student, teacher, ndim=2, axes="(B, D)")
    p_s, p_t = _neighbors(student), _neighbors(teacher)
    return (p_t * ((p_t + _EPS).log() - (p_s + _EPS).log())).mean()


def _neighbors(x: Tensor) -> Tensor:
    x = unit(x)
    # Rounding may leave a cosine just below −1, and no logarithm.
    near = ((x @ x.T + 1) / 2).clamp(min=0)
    return near / near.sum(1, keepdim=True)


def make_pkt(spec: FeatureSpec, *, weight: NonNegative = 30000.0) -> Term:
    """Probabilistic knowledge transfer (`pkt`) of the embeddings."""
    return Term(SelectOutputs("embedding"), StatelessLoss(pkt, relational=True), weight=weight)
