"""What a term is built for, what is known of a batch, and errors that name what networks do not have."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from ..common import UserError
from ..models import Dimensions

Shape = tuple[int, int, int]
"""(C, H, W) of a map."""


class FeatureSpec(NamedTuple):
    """What a term is built for: the sizes of a student and of one teacher, and the training set."""

    student: Dimensions
    teacher: Dimensions
    num_samples: int
    """Rows of the training set, M."""
    labels: Tensor | None = None
    """If the transfer sees them: the class of every row, (M,), or of every pixel, (M, H, W)."""
    teacher_classifier: nn.Linear | None = None
    """The teacher's last layer, if it has one: embedding -> logits."""
    groups: Tensor | None = None
    """If they are known: the recording or scene of every row, (M,) int64; rows of one are no negatives."""

    @property
    def classes(self) -> Tensor | None:
        """Class of every row, (M,); None without labels, or with those of pixels."""
        return self.labels if self.labels is not None and self.labels.ndim == 1 else None


@dataclass(frozen=True)
class BatchMeta:
    """What an objective may know of a batch beside the projected tensors."""

    index: Tensor
    """Rows of the samples, (B,); of mixed ones the row of what makes the larger part."""
    label: Tensor | None
    """Classes of the samples, (B,), or of their pixels, (B, H, W)."""
    readings: Tensor | None = None
    """Where the student's modality has readings, (B, 1, H, W) bool, before anything is disturbed; None for
    everywhere."""
    other_label: Tensor | None = None
    """Of mixed samples (MixUp, CutMix) the labels of what was mixed in, as `label`; None for nothing."""
    share: float = 1.0
    """λ of mixed samples: the part of `label`, the same in all; that of `other_label` is 1 − λ."""

    def of_labels(self, loss: Callable[[Any], Tensor]) -> Tensor:
        """A loss that reads labels, a scalar; of mixed samples λ · loss(label) + (1 − λ) · loss(other_label),
        as published for the cross-entropy.

        Args:
            loss: labels -> scalar.
        """
        if self.other_label is None:
            return loss(self.label)
        return self.share * loss(self.label) + (1 - self.share) * loss(self.other_label)


def map_at(spec: FeatureSpec, method: str, index: int) -> tuple[Shape, Shape]:
    """The map of this number, stem 0 or last −1, of the student and of the teacher.

    Raises:
        ValueError: one of them has no such map.
    """
    try:
        return spec.student.maps[index], spec.teacher.maps[index]
    except IndexError:
        raise refusal(spec, method, f"it reads map {index}, which one of them does not have") from None


def stage_maps(spec: FeatureSpec, method: str, *, equally_many: bool = False) -> list[tuple[Shape, Shape]]:
    """The maps beyond the stem, paired from the first stage on; if one network has more, the rest of its maps
    goes without a partner, as in the published benchmark.

    Raises:
        ValueError: for no pair, or different counts if `equally_many` is asked for.
    """
    student, teacher = spec.student.maps[1:], spec.teacher.maps[1:]
    if not student or not teacher:
        raise refusal(spec, method, "it reads the maps beyond the stem, and there are none")
    if equally_many and len(student) != len(teacher):
        raise refusal(
            spec, method, f"it needs equally many maps, got {len(student) + 1} and {len(teacher) + 1}"
        )
    return list(zip(student, teacher, strict=False))


def classes(spec: FeatureSpec, method: str) -> tuple[int, ...]:
    """(C,) of the teacher's logits, or (C, H, W) of a segmenter's.

    A student without logits is given a classifier of its own (`Classified`).

    Raises:
        ValueError: the teacher gives no logits, or the student gives those of other classes.
    """
    student, teacher = spec.student.logits, spec.teacher.logits
    if teacher is None or (student is not None and student != teacher):
        raise UserError(
            f"{method} compares the logits of two networks over the same classes, got a student with "
            f"{student} and a teacher with {teacher}"
        )
    return teacher


def need_labels(spec: FeatureSpec, method: str) -> None:
    """Raise `ValueError` without a label for each prediction: of a sample, or of a pixel if the teacher
    segments."""
    if spec.labels is None or spec.labels.ndim != len(spec.teacher.logits or ()):
        raise UserError(f"{method} needs the label of every prediction, and this transfer sees none")


def refusal(spec: FeatureSpec, method: str, why: str) -> ValueError:
    """The error of a method that cannot run on these networks."""
    return UserError(
        f"{method} cannot compare these networks: {why}. Student: {_listed(spec.student)}; teacher: "
        f"{_listed(spec.teacher)}"
    )


def _listed(dimensions: Dimensions) -> str:
    maps = ", ".join("x".join(map(str, shape)) for shape in dimensions.maps)
    return f"maps {maps or 'none'}, embedding {dimensions.embedding}"
