"""Similarity-preserving distillation: which samples of a batch resemble each other."""

from torch import Tensor

from ..common import NonNegative, UserError
from .ops import full_precision, unit
from .spec import FeatureSpec, map_at
from .term import SelectOutputs, StatelessLoss, Term


@full_precision
def similarity(student: Tensor, teacher: Tensor) -> Tensor:
    """Similarity-preserving distillation: the difference of two B×B Gram matrices.

    L = ‖G_t − G_s‖² / B², with G the products of the flattened features and every row of unit length. Tung &
    Mori, Similarity-Preserving Knowledge Distillation, 2019, Eq. 4.

    Args:
        student: (B, …), maps or vectors.
        teacher: (B, …), of any size.

    Raises:
        ValueError: for different batches, or tensors of a single axis.
    """
    if student.ndim < 2 or teacher.ndim < 2 or len(student) != len(teacher):
        raise UserError(
            f"student and teacher must be (B, …) with the same B, got {tuple(student.shape)} and "
            f"{tuple(teacher.shape)}"
        )
    student, teacher = student.flatten(1), teacher.flatten(1)
    return (unit(teacher @ teacher.T) - unit(student @ student.T)).square().mean()


def make_sp(spec: FeatureSpec, *, weight: NonNegative = 3000.0) -> Term:
    """Similarity-preserving distillation (`similarity`) of the last maps."""
    map_at(spec, "sp", -1)
    ours, theirs = len(spec.student.maps) - 1, len(spec.teacher.maps) - 1
    projector = SelectOutputs("maps", ours, teacher=(theirs,))
    return Term(projector, StatelessLoss(_of_maps, relational=True), weight=weight)


def _of_maps(student: tuple[Tensor], teacher: tuple[Tensor]) -> Tensor:
    return similarity(student[0], teacher[0])
