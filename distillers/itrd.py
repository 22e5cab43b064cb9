"""Information theoretic distillation: features that correlate, and neighbors that are the teacher's, too."""

import math
from functools import partial

import torch
from torch import Tensor

from ..common import NonNegative, Positive
from ..contrast import check_positive
from ..models import Outputs
from .ops import check_batch, check_same, full_precision, unit
from .projector import StudentProjector
from .spec import FeatureSpec
from .term import StatelessLoss, Term


@full_precision
def itrd(
    projected: Tensor,
    student: Tensor,
    teacher: Tensor,
    *,
    alpha: float = 1.01,
    correlation_weight: float = 2.0,
    mutual_weight: float = 1.0,
) -> Tensor:
    """Information theoretic representation distillation: L = λ_corr · L_corr + λ_mi · L_mi.

    L_corr = log₂ Σ_d (1 − c_d)^2α, with c_d = Σ_b ŝ_bd · t̂_bd / B of embeddings standardized over the batch;
    the deviation is the unbiased one, so that 1 − c is at least 1/B. L_mi = ‖G_s‖² − ‖G_st‖², with G_s the
    cosines of the students among themselves, G_st their products with the teachers' cosines, each divided by
    its trace: Rényi's entropies of order 2 without their logarithms. So the published code has both, after
    Miles et al., Information Theoretic Representation Distillation, 2022. A feature that is constant within
    the batch has c_d = 0; a batch of one has the constant log₂ D'.

    Args:
        projected: (B, D'), the student's embedding in the teacher's width, for L_corr.
        student: (B, D), for L_mi.
        teacher: (B, D').
        alpha: α, positive.
        correlation_weight: λ_corr.
        mutual_weight: λ_mi.

    Raises:
        ValueError: for other than two axes, different batches, a projection of another width than the
            teacher's, or α that is not positive.
    """
    check_same(projected, teacher, ndim=2, axes="(B, D)")
    check_batch(student, teacher, ndim=2, axes="(B, D)")
    check_positive(alpha=alpha)
    correlation, mutual = _uncorrelated(projected, teacher, alpha), _unshared(student, teacher)
    return correlation_weight * correlation + mutual_weight * mutual


def _uncorrelated(student: Tensor, teacher: Tensor, alpha: float) -> Tensor:
    ours, theirs = (unit(x - x.mean(0), dim=0) for x in (student, teacher))
    correlation = (ours * theirs).sum(0) * (len(student) - 1) / len(student)
    return torch.logsumexp(2 * alpha * torch.log1p(-correlation), dim=0) / math.log(2)


def _unshared(student: Tensor, teacher: Tensor) -> Tensor:
    own, theirs = (unit(x) @ unit(x).T for x in (student, teacher))
    return _purity(own) - _purity(own * theirs)


def _purity(gram: Tensor) -> Tensor:
    """‖G / tr G‖²; 0 where all vectors are zero."""
    trace = gram.trace()
    return (gram / trace.masked_fill(trace == 0, 1.0)).square().sum()


class _BothEmbeddings(StudentProjector):
    """What `itrd` compares: the student's embedding itself only where it is as wide as the teacher's."""

    def forward(self, student: Outputs, teacher: Outputs) -> tuple[Tensor, ...]:
        projected, target = super().forward(student, teacher)
        return projected, student.embedding if student.embedding.shape == target.shape else projected, target


def make_itrd(
    spec: FeatureSpec,
    *,
    weight: NonNegative = 1.0,
    alpha: Positive = 1.01,
    correlation_weight: float = 2.0,
    mutual_weight: float = 1.0,
) -> Term:
    """Information theoretic representation distillation (`itrd`) of the embeddings.

    Args:
        spec: two networks.
        weight: of the sum of both.
        alpha: α, with the two weights below from the authors' command for wrn_40_2→wrn_16_2; left alone,
            their code has 1.5, 2 and 0.05.
        correlation_weight: λ_corr.
        mutual_weight: λ_mi; of the student's embedding as it is if both are of one width, else projected.
    """
    loss = partial(itrd, alpha=alpha, correlation_weight=correlation_weight, mutual_weight=mutual_weight)
    return Term(
        _BothEmbeddings(spec.student.embedding, spec.teacher.embedding),
        StatelessLoss(loss, relational=True),
        weight=weight,
    )
