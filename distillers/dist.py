"""DIST: the relations among predictions instead of the predictions themselves."""

from functools import partial

import torch
from torch import Tensor

from ..common import NonNegative, Positive
from ..contrast import check_positive
from .logits import select_logits
from .ops import check_same, full_precision
from .spec import FeatureSpec
from .term import StatelessLoss, Term

#: Published; it quietens classes whose probability hardly varies within a batch.
_EPS = 1e-8


@full_precision
def dist(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    beta: float = 2.0,
    gamma: float = 2.0,
    temperature: float = 4.0,
) -> Tensor:
    """Distillation from a stronger teacher: L = T² · (β · inter + γ · intra).

    Of the softened predictions p (B, C), inter is the mean over samples of 1 − Pearson(p_s[b], p_t[b]), and
    intra the mean over classes of 1 − Pearson(p_s[:, c], p_t[:, c]). A linear relation is enough: the student
    need not match how sure the teacher is. Huang et al., Knowledge Distillation from A Stronger Teacher,
    2022, Eq. 8 to 10. In a batch of one sample intra is the constant 1.

    Args:
        student_logits: (B, C).
        teacher_logits: (B, C).
        beta: β.
        gamma: γ.
        temperature: T, positive.

    Raises:
        ValueError: for shapes that are not the same (B, C), or a temperature that is not positive.
    """
    check_same(student_logits, teacher_logits, ndim=2, axes="(B, C)")
    check_positive(temperature=temperature)
    student, teacher = (x.div(temperature).softmax(dim=1) for x in (student_logits, teacher_logits))
    inter = 1 - _pearson(student, teacher, dim=1).mean()
    intra = 1 - _pearson(student, teacher, dim=0).mean()
    return temperature**2 * (beta * inter + gamma * intra)


def _pearson(a: Tensor, b: Tensor, *, dim: int) -> Tensor:
    """The correlation of a and b along a dimension, without it; 0 where one of them is constant."""
    a, b = a - a.mean(dim, keepdim=True), b - b.mean(dim, keepdim=True)
    norms = torch.linalg.vector_norm(a, dim=dim) * torch.linalg.vector_norm(b, dim=dim)
    return (a * b).sum(dim) / (norms + _EPS).masked_fill(norms == 0, 1.0)


def make_dist(
    spec: FeatureSpec,
    *,
    weight: NonNegative = 1.0,
    beta: float = 2.0,
    gamma: float = 2.0,
    temperature: Positive = 4.0,
) -> Term:
    """DIST (`dist`) of the logits; the published settings are those for CIFAR-100 (T is 1 for ImageNet)."""
    projector = select_logits(spec, "dist")
    return Term(
        projector,
        StatelessLoss(partial(dist, beta=beta, gamma=gamma, temperature=temperature), relational=True),
        weight=weight,
    )
