"""Hints: the student's map regressed to the teacher's."""

import torch.nn.functional as F
from torch import Tensor, nn

from ..models import Outputs
from .dense import DenseTarget
from .ops import check_same, full_precision
from .regressor import FitNetRegressor
from .spec import FeatureSpec, map_at
from .term import StatelessLoss, Term


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

    def __init__(self, spec: FeatureSpec, hint: int, *, hypercolumn: bool) -> None:
        super().__init__()
        student, _ = map_at(spec, "fitnet", hint)
        self.hint = hint
        self.target = DenseTarget(spec, hint, "fitnet", hypercolumn=hypercolumn)
        self.reads = self.target.reads
        self.regress = FitNetRegressor(student, self.target.shape)

    def forward(self, student: Outputs, teacher: Outputs) -> tuple[Tensor, Tensor]:
        return self.regress(student.maps[self.hint]), self.target(teacher)


def make_fitnet(
    spec: FeatureSpec, *, weight: float = 100.0, hint: int = 2, hypercolumn: bool = False
) -> Term:
    """Hints (`fitnet`) at one map, through a `FitNetRegressor`.

    Args:
        spec: two networks with a map of that number.
        weight: published.
        hint: which of the maps, stem 0; negative from the last.
        hypercolumn: regress to the teacher's hypercolumn if its map is coarser (`DenseTarget`).
    """
    return Term(_Hint(spec, hint, hypercolumn=hypercolumn), StatelessLoss(fitnet), weight=weight)
