"""Variational information distillation: how well the student's maps predict the teacher's."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..common import NonNegative, Positive, UserError
from ..contrast import check_positive
from ..models import Outputs
from .ops import check_maps, full_precision, same_size
from .spec import FeatureSpec, stage_maps
from .standardize import StandardizeMode, standardizer
from .term import StatelessLoss, Term


@full_precision
def vid(means: Sequence[Tensor], teacher_maps: Sequence[Tensor], variances: Sequence[Tensor]) -> Tensor:
    """Variational information distillation: the negative log-likelihood of the teacher's maps.

    L = Σ_i mean ½ ((μ_i − t_i)² / σ_i² + log σ_i²), a Gaussian without its constant. Ahn et al., Variational
    Information Distillation for Knowledge Transfer, 2019, Eq. 5.

    Args:
        means: μ, predicted from the student's maps, each (B, C_i, H_i, W_i).
        teacher_maps: as many, each of the same shape.
        variances: σ², one for each channel, each (C_i,), positive.

    Raises:
        ValueError: for sequences that do not pair up or shapes that do not agree.
    """
    check_maps(means, teacher_maps)
    if len(variances) != len(means) or any(
        m.shape != t.shape or v.shape != m.shape[1:2]
        for m, t, v in zip(means, teacher_maps, variances, strict=True)
    ):
        shapes = [[tuple(x.shape) for x in side] for side in (means, teacher_maps, variances)]
        raise UserError(
            "means and teacher_maps must have the same shapes (B, C, H, W) and variances be (C,), got "
            f"{shapes[0]}, {shapes[1]} and {shapes[2]}"
        )
    losses = []
    for mean, target, variance in zip(means, teacher_maps, variances, strict=True):
        variance = variance[:, None, None]
        losses.append(((mean - target).square() / variance + variance.log()).mean() / 2)
    return torch.stack(losses).sum()


class VID(nn.Module):
    """The predictor of one teacher's map: three 1×1 convolutions for the mean, and a variance per channel.

    Args:
        student_channels: of the student's map.
        teacher_channels: of the teacher's map.
        initial_variance: where σ² starts.
        eps: what σ² never falls below.
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        *,
        initial_variance: float = 5.0,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        check_positive(student_channels=student_channels, teacher_channels=teacher_channels, eps=eps)
        if not initial_variance > eps:
            raise UserError(f"initial_variance must be above eps, {eps}, got {initial_variance}")
        self.eps = eps
        self.regressor = nn.Sequential(
            nn.Conv2d(student_channels, teacher_channels, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(teacher_channels, teacher_channels, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(teacher_channels, teacher_channels, 1, bias=False),
        )
        start = math.log(math.expm1(initial_variance - eps))
        self.log_scale = nn.Parameter(torch.full((teacher_channels,), start))

    def forward(self, student_map: Tensor, teacher_map: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The mean (B, C', H, W), the teacher's map of that shape, and the variance (C',).

        Args:
            student_map: (B, C, H, W).
            teacher_map: (B, C', H', W'); the larger of both is average-pooled first.
        """
        student_map, teacher_map = same_size(student_map, teacher_map)
        return self.regressor(student_map), teacher_map, F.softplus(self.log_scale) + self.eps


class _Predictors(nn.Module):
    """A `VID` for every pair of maps beyond the stem."""

    def __init__(self, spec: FeatureSpec, initial_variance: float, standardize: StandardizeMode) -> None:
        super().__init__()
        shapes = stage_maps(spec, "vid")
        self.targets = nn.ModuleList(
            standardizer(teacher[0], spec.num_samples, standardize) for _, teacher in shapes
        )
        self.predictors = nn.ModuleList(
            VID(student[0], teacher[0], initial_variance=initial_variance) for student, teacher in shapes
        )
        self.reads = frozenset(f"maps.{i}" for i in range(1, len(shapes) + 1))

    def forward(self, student: Outputs, teacher: Outputs) -> tuple[tuple[Tensor, ...], ...]:
        # The longer side's last maps have no predictor.
        pairs = enumerate(zip(self.predictors, self.targets, strict=True), start=1)
        found = (f(student.maps[i], target(teacher.maps[i])) for i, (f, target) in pairs)
        return tuple(zip(*found, strict=True))


def make_vid(
    spec: FeatureSpec,
    *,
    weight: NonNegative = 1.0,
    initial_variance: Positive = 5.0,
    standardize: StandardizeMode = False,
) -> Term:
    """Variational information distillation (`vid`) of the maps beyond the stem.

    Args:
        spec: two networks with maps beyond the stem.
        weight: published.
        initial_variance: where σ² starts.
        standardize: predict features of mean 0 and variance 1 (`Standardize`), or "phi-s".
    """
    return Term(
        _Predictors(spec, initial_variance, standardize), StatelessLoss(vid, constants=1), weight=weight
    )
