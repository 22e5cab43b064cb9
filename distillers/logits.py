"""Logits of both networks; a student without any has a classifier of its own in the term."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ..common import UserError
from ..models import Outputs
from .spec import FeatureSpec, classes
from .term import SelectOutputs


class Classified(nn.Module):
    """The logits of a classifier on top of an encoder, at the teacher's resolution, and the teacher's.

    A linear layer on the embedding for a teacher that classifies, a 1×1 convolution on the last map for one
    that segments. It trains with the student and is thrown away after the transfer.

    Args:
        spec: of a student without logits.
    """

    reads = frozenset({"logits"})

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        logits = spec.teacher.logits or ()
        self.dense = len(logits) == 3
        self.classify: nn.Module = (
            nn.Conv2d(spec.student.maps[-1][0], logits[0], 1)
            if self.dense
            else nn.Linear(spec.student.embedding, logits[0])
        )

    def forward(self, student: Outputs, teacher: Outputs) -> tuple[Tensor, Tensor]:
        """(B, C, …) both."""
        theirs: Any = teacher.logits
        logits = self.classify(student.maps[-1] if self.dense else student.embedding)
        return resized(logits, theirs), theirs


def select_logits(spec: FeatureSpec, method: str, *, dense: bool = False) -> nn.Module:
    """A projector of both networks' logits.

    Args:
        method: for the message.
        dense: whether the method can compare logits at each position, (B, C, H, W).

    Raises:
        ValueError: no logits of the teacher, other classes, or a segmenter's for a method that has no use for
            positions.
    """
    logits = classes(spec, method)
    if len(logits) != 1 and not dense:
        raise UserError(f"{method} compares one prediction an image; the teacher gives logits of {logits}")
    return SelectOutputs("logits") if spec.student.logits is not None else Classified(spec)


def resized(logits: Any, like: Tensor) -> Tensor:
    """Logits (B, C, h, w) at the size of others, bilinear; (B, C) as they are."""
    if logits.ndim == 4 and logits.shape[-2:] != like.shape[-2:]:
        return F.interpolate(logits, like.shape[-2:], mode="bilinear", align_corners=False)
    result: Tensor = logits
    return result
