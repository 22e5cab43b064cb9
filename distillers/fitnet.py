"""Hints: the student's map regressed to the teacher's."""

import torch.nn.functional as F
from torch import Tensor, nn

from ..common import NonNegative, UserError
from ..models import Outputs
from .dense import DenseTarget
from .ops import check_same, full_precision
from .spec import FeatureSpec, Shape, map_at
from .standardize import StandardizeMode
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


class FitNetRegressor(nn.Module):
    """A convolution to the teacher's channels and size, then batch norm and, for hints, ReLU.

    The forms of the published benchmark (RepDistiller, after Romero et al., 2015), chosen by the teacher's
    size along both axes: half the student's (rounded up), a 3x3 convolution of stride 2; twice, a transposed
    4x4 convolution of stride 2; equal, a 1x1 convolution; smaller by up to 4 positions, an unpadded
    convolution that takes off just as many. For any other pair of sizes the map is resized first (average
    pooling along an axis that shrinks, else bilinear) and a 1x1 convolution follows; the published code would
    take a kernel as large as the difference, or stop.

    Args:
        student_shape: (C, H, W) of the student's map.
        teacher_shape: (C, H, W) of the teacher's map.
        relu: whether a ReLU comes last; not where maps before their ReLU are compared.

    Shapes:
        (B, *student_shape) to (B, *teacher_shape). Trains with the student's optimizer.

    Raises:
        ValueError: for a shape that is not three positive numbers.
    """

    def __init__(self, student_shape: Shape, teacher_shape: Shape, *, relu: bool = True) -> None:
        super().__init__()
        self.relu = relu
        for side, shape in (("student_shape", student_shape), ("teacher_shape", teacher_shape)):
            if len(shape) != 3 or any(size < 1 for size in shape):
                raise UserError(f"{side} must be (C, H, W), all positive, got {tuple(shape)}")
        (cs, hs, ws), (ct, ht, wt) = student_shape, teacher_shape
        self.resize: tuple[int, int] | None = None
        self.conv: nn.Module
        if (hs, ws) != (ht, wt) and (-(-hs // 2), -(-ws // 2)) == (ht, wt):
            self.conv = nn.Conv2d(cs, ct, 3, stride=2, padding=1)
        elif (2 * hs, 2 * ws) == (ht, wt):
            self.conv = nn.ConvTranspose2d(cs, ct, 4, stride=2, padding=1)
        elif 0 <= hs - ht <= 4 and 0 <= ws - wt <= 4:
            self.conv = nn.Conv2d(cs, ct, (1 + hs - ht, 1 + ws - wt))
        else:
            self.resize = (ht, wt)
            self.conv = nn.Conv2d(cs, ct, 1)
        self.norm = nn.BatchNorm2d(ct)

    def forward(self, student_map: Tensor) -> Tensor:
        """The student's map in the teacher's shape."""
        if self.resize is not None:
            student_map = _resized(student_map, self.resize)
        regressed: Tensor = self.norm(self.conv(student_map))
        return F.relu(regressed) if self.relu else regressed


def _resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    height, width = x.shape[2:]
    x = F.adaptive_avg_pool2d(x, (min(height, size[0]), min(width, size[1])))
    if tuple(x.shape[2:]) == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


class Hint(nn.Module):
    """One map of the student, regressed, and the teacher's."""

    def __init__(
        self,
        spec: FeatureSpec,
        hint: int,
        *,
        method: str = "fitnet",
        hypercolumn: bool = False,
        standardize: StandardizeMode = False,
    ) -> None:
        super().__init__()
        student, _ = map_at(spec, method, hint)
        self.hint = hint
        self.target = DenseTarget(spec, hint, method, hypercolumn=hypercolumn, standardize=standardize)
        self.reads = self.target.reads
        self.regress = FitNetRegressor(student, self.target.shape, relu=not standardize)

    def forward(self, student: Outputs, teacher: Outputs) -> tuple[Tensor, Tensor]:
        return self.regress(student.maps[self.hint]), self.target(teacher)


def make_fitnet(
    spec: FeatureSpec,
    *,
    weight: NonNegative = 100.0,
    hint: int = 2,
    hypercolumn: bool = False,
    standardize: StandardizeMode = False,
) -> Term:
    """Hints (`fitnet`) at one map, through a `FitNetRegressor`.

    Args:
        spec: two networks with a map of that number.
        weight: published.
        hint: which of the maps, stem 0; negative from the last.
        hypercolumn: regress to the teacher's hypercolumn if its map is coarser (`DenseTarget`).
        standardize: regress to features of mean 0 and variance 1 (`Standardize`), or "phi-s"; the regressor
            then has no ReLU.
    """
    projector = Hint(spec, hint, hypercolumn=hypercolumn, standardize=standardize)
    return Term(projector, StatelessLoss(fitnet), weight=weight)
