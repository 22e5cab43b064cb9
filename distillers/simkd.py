"""SimKD: the teacher's classifier reused on the student's projected map."""

import copy
from functools import partial

from torch import Tensor, nn

from ..common import Count, NonNegative, UserError
from ..models import Outputs
from .fitnet import fitnet
from .ops import pooled
from .spec import FeatureSpec, Shape, map_at, refusal
from .term import StatelessLoss, Term


class SimKDProjector(nn.Module):
    """The student's last map in the teacher's channels: three convolutions with batch norm and ReLU.

    The inner width is the teacher's channels divided by `reduction`. Of two maps of different H or W the
    larger is average-pooled to the smaller, along each axis. Chen et al., Knowledge Distillation with the
    Reused Teacher Classifier, 2022.

    Args:
        student_shape: (C, H, W) of the student's map.
        teacher_shape: (C', H', W') of the teacher's map.
        reduction: of the bottleneck.
        number: of the teacher's map, from the stem at 0.
        inner: the bottleneck's width itself, in the place of `reduction`.
    """

    def __init__(
        self,
        student_shape: Shape,
        teacher_shape: Shape,
        *,
        reduction: int = 2,
        number: int = 0,
        inner: int | None = None,
    ) -> None:
        super().__init__()
        self.number = number
        self.reads = frozenset({f"maps.{number}"})
        channels = teacher_shape[0]
        if inner is None:
            inner = channels // reduction if reduction > 0 else 0
        if inner < 1:
            raise UserError(f"reduction must be 1 to the teacher's {channels} channels, got {reduction}")
        self.size = (min(student_shape[1], teacher_shape[1]), min(student_shape[2], teacher_shape[2]))
        self.transfer = nn.Sequential(
            *_convolution(student_shape[0], inner, 1),
            *_convolution(inner, inner, 3),
            *_convolution(inner, channels, 1),
        )

    def project(self, student_map: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', *the smaller size)."""
        projected: Tensor = self.transfer(pooled(student_map, self.size))
        return projected

    def forward(self, student: Outputs, teacher: Outputs) -> tuple[Tensor, Tensor]:
        """The student's projected last map and the teacher's, of one shape."""
        return self.project(student.maps[-1]), pooled(teacher.maps[self.number], self.size)


def _convolution(before: int, after: int, kernel: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(),
    )


class Reused(nn.Module):
    """Student, projector and the teacher's classifier as one network, that returns `Outputs`.

    The projected map is appended to the student's maps; the embedding is its average, the logits are the
    teacher's classifier's of that. It shares the student and the projector, and has a frozen copy of the
    classifier, on the student's device.

    Args:
        student: returns `Outputs`.
        projector: as trained.
        classifier: the teacher's, embedding -> logits.
    """

    def __init__(self, student: nn.Module, projector: SimKDProjector, classifier: nn.Linear) -> None:
        super().__init__()
        self.student = student
        self.projector = projector
        self.classifier = copy.deepcopy(classifier).requires_grad_(False)
        self.classifier.to(projector.transfer[0].weight.device)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Outputs:
        """`Outputs` of images, (B, 3, H, W)."""
        outputs: Outputs = self.student(images)
        projected = self.projector.project(outputs.maps[-1])
        embedding = projected.mean(dim=(2, 3))
        return Outputs(self.classifier(embedding), (*outputs.maps, projected), embedding)


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
    return Reused(student, projector, classifier)
