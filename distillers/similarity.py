"""Similarity-preserving distillation: which samples of a batch resemble each other."""

from __future__ import annotations

from torch import Tensor

from .shapes import last_maps
from .tensors import full_precision, unit
from .term import Function, Pair, Read, Term

__all__ = ["make_sp", "similarity"]


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
        raise ValueError(
            f"student and teacher must be (B, …) with the same B, got {tuple(student.shape)} and "
            f"{tuple(teacher.shape)}"
        )
    student, teacher = student.flatten(1), teacher.flatten(1)
    return (unit(teacher @ teacher.T) - unit(student @ student.T)).square().mean()


def make_sp(pair: Pair, *, weight: float = 3000.0) -> Term:
    """Similarity-preserving distillation (`similarity`) of the last maps."""
    last_maps(pair, "sp")
    return Term(
        Read(lambda student, teacher: (student.maps[-1], teacher.maps[-1])),
        Function(similarity),
        weight=weight,
    )
