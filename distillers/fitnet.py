"""Hints: the student's map regressed to the teacher's."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ..models import Outputs
from .regressor import FitNetRegressor
from .shapes import Shape, map_at
from .tensors import check_same, full_precision
from .term import Function, Pair, Term

__all__ = ["fitnet", "make_fitnet"]


@full_precision
def fitnet(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    """Hints: the mean squared difference of two maps.

    Romero et al., FitNets: Hints for Thin Deep Nets, 2015. Maps of different shapes go through
    `FitNetRegressor` first.

    Args:
        student_map: (B, C, H, W), already regressed to the teacher's shape.
        teacher_map: (B, C, H, W).

    Raises:
        ValueError: for different shapes.
    """
    check_same(student_map, teacher_map, ndim=4, axes="(B, C, H, W)")
    return F.mse_loss(student_map, teacher_map)


class _Hint(nn.Module):
    """One map of the student, regressed, and the teacher's."""

    def __init__(self, student_shape: Shape, teacher_shape: Shape, hint: int) -> None:
        super().__init__()
        self.hint = hint
        self.regress = FitNetRegressor(student_shape, teacher_shape)

    def forward(self, student: Outputs, teacher: Outputs) -> tuple[Tensor, Tensor]:
        return self.regress(student.maps[self.hint]), teacher.maps[self.hint]


def make_fitnet(pair: Pair, *, weight: float = 100.0, hint: int = 2) -> Term:
    """Hints (`fitnet`) at one map, through a `FitNetRegressor`.

    Args:
        pair: two networks with a map of that number.
        weight: published.
        hint: which of the maps, stem 0.
    """
    return Term(_Hint(*map_at(pair, "fitnet", hint), hint), Function(fitnet), weight=weight)
