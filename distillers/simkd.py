"""SimKD: the teacher's classifier reused on the student's projected map."""

from functools import partial

from torch import Tensor, nn

from ..common import Count, NonNegative, UserError
from ..models import ChannelProjection, Outputs, ReusedClassifier
from .fitnet import fitnet
from .ops import pooled
from .spec import FeatureSpec, Shape, map_at, refusal
from .term import StatelessLoss, Term


class SimKDProjector(ChannelProjection):
    """The student's last map in the teacher's channels: three convolutions with batch norm and ReLU.

    The inner width is the teacher's channels divided by `reduction`. Of two maps of different H or W the
    larger is average-pooled to the smaller, along each axis. Chen et al., Knowledge Distillation with the
    Reused Teacher Classifier, 2022.

    Args:
        student_shape: (C, H, W) of the student's map.
        teacher_shape: (C', H', W') of the teacher's map.
        reduction: of the bottleneck.
        number: of the teacher's map, from the stem at 0.
    """

    def __init__(
        self, student_shape: Shape, teacher_shape: Shape, *, reduction: int = 2, number: int = 0
    ) -> None:
        channels = teacher_shape[0]
        if not 1 <= reduction <= channels:
            raise UserError(f"reduction must be 1 to the teacher's {channels} channels, got {reduction}")
        size = (min(student_shape[1], teacher_shape[1]), min(student_shape[2], teacher_shape[2]))
        super().__init__(student_shape[0], channels, hidden=channels // reduction, size=size)
        self.number = number
        self.reads = frozenset({f"maps.{number}"})

    def forward(self, student: Outputs, teacher: Outputs) -> tuple[Tensor, Tensor]:
        """The student's projected last map and the teacher's, of one shape."""
        return self.project(student.maps[-1]), pooled(teacher.maps[self.number], self.size)


def make_simkd(spec: FeatureSpec, *, weight: NonNegative = 1.0, reduction: Count = 2) -> Term:
    """SimKD: the mean squared difference (`fitnet`) of the last maps through a `SimKDProjector`, alone.

    The cross-entropy has no part in it (task weight 0), and the student's own classifier is not used: the
    network to test is what `deploy` returns, with the teacher's classifier.

    Args:
        spec: with the teacher's classifier, which must read the average of the teacher's last map.
        weight: published.
        reduction: of the projector's bottleneck.

    Raises:
        ValueError: for a teacher without a linear classifier, or one that reads something else.
    """
    student, teacher = map_at(spec, "simkd", -1)
    classifier = spec.teacher_classifier
    if classifier is None:
        raise refusal(spec, "simkd", "it reuses the teacher's linear classifier, and none is known")
    if classifier.in_features != teacher[0]:
        mismatch = f"reads {classifier.in_features} channels and its last map has {teacher[0]}"
        raise refusal(spec, "simkd", f"the teacher's classifier {mismatch}")
    projector = SimKDProjector(student, teacher, reduction=reduction, number=len(spec.teacher.maps) - 1)
    return Term(
        projector,
        StatelessLoss(fitnet),
        weight=weight,
        task_weight=0.0,
        deploy=partial(_deploy, projector, classifier),
    )


def _deploy(projector: SimKDProjector, classifier: nn.Linear, student: nn.Module) -> nn.Module:
    return ReusedClassifier(student, projector, classifier)
