"""What a term is built for, measured on the networks, and what it reads of them."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from ..distillers import FeatureSpec, Term
from ..models import measure
from .data import TransferData
from .networks import classifier_of
from .targets import Teacher


def make_spec(student: nn.Module, teacher: Teacher, data: TransferData) -> FeatureSpec:
    """The sizes of both networks for their modalities, and of the training set."""
    return FeatureSpec(
        student=measure(student, data.shape(data.modality)),
        teacher=measure(teacher.network, data.shape(teacher.modality)),
        num_samples=len(data.dataset),
        labels=data.labels,
        teacher_classifier=classifier_of(teacher.network),
    )


def reads_of(terms: Iterable[Term], teachers: int) -> tuple[frozenset[str], ...]:
    """For each teacher the names of the parts that some terms, and their pretraining, read."""
    reads: list[frozenset[str]] = [frozenset()] * teachers
    for term in terms:
        projectors = [term.projector, *([] if term.pretrain is None else [term.pretrain.projector])]
        for projector in projectors:
            own: Any = projector.reads
            reads = [a | b for a, b in zip(reads, own, strict=True)]
    return tuple(reads)
