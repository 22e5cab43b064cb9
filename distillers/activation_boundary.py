"""Transfer of activation boundaries: an initialization of the student on the maps before their ReLU."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from ..common import NonNegative, Positive
from ..contrast import check_positive
from ..models import Outputs
from .fitnet import FitNetRegressor
from .ops import check_maps, check_same, full_precision
from .spec import FeatureSpec, Shape, refusal, stage_maps
from .term import PretrainEpochs, PretrainStage, StatelessLoss, Term


@full_precision
def activation_boundary(
    student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor], *, margin: float = 1.0
) -> Tensor:
    """Activation boundaries: the student's neurons should be on when the teacher's are, by a margin m.

    Where the teacher's t > 0 a student's s ≤ m costs (s − m)², where t ≤ 0 an s > −m costs (s + m)². The sum
    over all neurons of the i-th of n maps is weighted by 2^(i−n), i = 1…n, and the total by 3/1000 per
    sample. Heo et al., Knowledge Transfer via Distillation of Activation Boundaries Formed by Hidden Neurons,
    2019, Eq. 4; the factors are the published benchmark's.

    Args:
        student_maps: before the ReLU, each (B, C_i, H_i, W_i) and already of the teacher's shape.
        teacher_maps: before the ReLU, as many, each of the same shape.
        margin: m, positive.

    Raises:
        ValueError: for maps that do not pair up or differ in shape, or a margin that is not positive.
    """
    check_positive(margin=margin)
    check_maps(student_maps, teacher_maps)
    losses = []
    for i, (student, teacher) in enumerate(zip(student_maps, teacher_maps, strict=True), start=1):
        check_same(student, teacher, ndim=4, axes="(B, C, H, W)")
        signed = torch.where(teacher > 0, student, -student)
        losses.append(2.0 ** (i - len(student_maps)) * (margin - signed).clamp(min=0).square().sum())
    return torch.stack(losses).sum() * (3 / 1000 / len(student_maps[0]))


class Connectors(nn.Module):
    """The student's maps before their ReLU in the shapes of the teacher's, from the first stage on.

    A map of the teacher's shape stays as it is; any other goes through a `FitNetRegressor` without ReLU.

    Args:
        shapes: (C, H, W) of each pair of maps, student's and teacher's.
    """

    def __init__(self, shapes: Sequence[tuple[Shape, Shape]]) -> None:
        super().__init__()
        self.connectors = nn.ModuleList(
            nn.Identity() if student == teacher else FitNetRegressor(student, teacher, relu=False)
            for student, teacher in shapes
        )
        self.reads = frozenset(f"preactivations.{i}" for i in range(1, len(shapes) + 1))

    def forward(self, student: Outputs, teacher: Outputs) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """The connected maps and the teacher's, both before the ReLU."""
        pairs = zip(self.connectors, student.preactivations[1:], strict=True)
        return tuple(connect(x) for connect, x in pairs), teacher.preactivations[1:]


def make_ab(
    spec: FeatureSpec, *, weight: NonNegative = 0.0, margin: Positive = 1.0, epochs: PretrainEpochs = 30
) -> Term:
    """Activation boundaries (`activation_boundary`) as an initialization; then the cross-entropy alone.

    Args:
        spec: two networks with equally many maps, that give their preactivations.
        weight: of the same loss in the distillation that follows; published: none.
        margin: m.
        epochs: of the initialization.
    """
    for side, dimensions in (("student", spec.student), ("teacher", spec.teacher)):
        if not dimensions.preactivations:
            raise refusal(spec, "ab", f"it reads maps before their ReLU; the {side} has no preactivations")
    projector = Connectors(stage_maps(spec, "ab", equally_many=True))
    objective = StatelessLoss(partial(activation_boundary, margin=margin))
    stage = PretrainStage(projector, objective, epochs=epochs)
    return Term(projector, objective, weight=weight, pretrain=stage)
