"""Simple recipe distillation: a linear projector, batch norm on both sides, a soft maximum of the rest."""

from functools import partial
from typing import Annotated

from torch import Tensor

from ..common import Ge, NonNegative, UserError
from .ops import check_same, full_precision
from .projector import StudentProjector
from .spec import FeatureSpec
from .term import StatelessLoss, Term

#: Published: under the variance, and under the logarithm (in the code for transformers), which else has no
#: gradient where student and teacher agree.
_VARIANCE, _SUM = 1e-4, 1e-5


@full_precision
def srd(student: Tensor, teacher: Tensor, *, exponent: float = 4.0) -> Tensor:
    """Simple recipe distillation: L = log Σ_bd |BN(s)_bd − BN(t)_bd|^α.

    BN is batch norm without weights, always by the statistics of the batch. A large α sees the largest
    differences, and the logarithm softens them. Miles & Mikolajczyk, Understanding the Role of the Projector
    in Knowledge Distillation, 2024. In a batch of one both sides are 0, and L is the constant log 1e-5.

    Args:
        student: (B, D), projected to the teacher's width.
        teacher: (B, D).
        exponent: α, at least 1.

    Raises:
        ValueError: for shapes that are not the same (B, D), or an exponent below 1.
    """
    check_same(student, teacher, ndim=2, axes="(B, D)")
    if not exponent >= 1:
        raise UserError(f"exponent must be at least 1, got {exponent}")
    difference = _standardized(student) - _standardized(teacher)
    return (difference.abs().pow(exponent).sum() + _SUM).log()


def _standardized(x: Tensor) -> Tensor:
    centered = x - x.mean(0)
    return centered / (centered.square().mean(0) + _VARIANCE).sqrt()


def make_srd(
    spec: FeatureSpec, *, weight: NonNegative = 2.0, exponent: Annotated[float, Ge(1)] = 4.0
) -> Term:
    """Simple recipe distillation (`srd`) of the embeddings, the student's through a `StudentProjector`.

    Args:
        spec: two networks.
        weight: beside a whole cross-entropy; published for ImageNet, where KL at temperature 1 is added:
            `srd+kd` with `kd.temperature=1`. The weight for CIFAR-100 is not in the published code.
        exponent: α.
    """
    return Term(
        StudentProjector(spec.student.embedding, spec.teacher.embedding),
        StatelessLoss(partial(srd, exponent=exponent), relational=True),
        weight=weight,
    )
