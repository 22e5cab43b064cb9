"""What a transfer reads, what a term is built for, measured on the networks, and what it reads of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ..common import UserError
from ..data import Statistics
from ..distillers import DataSize, FeatureSpec, Term
from ..models import classifier_of, measure
from .targets import Teacher


@dataclass(frozen=True)
class TransferData:
    """The samples of a transfer and what is done to them before a network sees them."""

    dataset: Any
    """M samples with `index` and every modality, or what `augment` makes them of."""
    augment: nn.Module
    """batch -> batch with every modality under its name, all moved alike; may be cached."""
    modality: str
    """What the student sees."""
    statistics: Statistics
    """Of every modality, for the normalization of networks that are made by name."""
    size: tuple[int, int] | Mapping[str, tuple[int, int]]
    """(H, W) of every modality, or of each."""
    disturb: nn.Module | None = None
    """batch -> batch: what the student's modality undergoes on top, anew in every step."""
    labels: Tensor | None = None
    """If the transfer may see them: the class of every sample, (M,), or of every pixel, (M, H, W)."""
    groups: Tensor | None = None
    """The recording or scene of every sample, (M,) int64: samples of one are no negatives of each other."""

    @property
    def is_labeled(self) -> bool:
        """Whether samples have a class, and so the student a cross-entropy with it in the transfer; label
        maps are for the terms that read them."""
        return self.labels is not None and self.labels.ndim == 1

    def size_for(self, batch_size: int) -> DataSize:
        """Return what the memory of a method depends on, for a batch size."""
        return DataSize(len(self.dataset), batch_size, self.is_labeled, self.groups is not None)

    def shape(self, modality: str) -> tuple[int, int, int]:
        """(C, H, W) of a modality."""
        height, width = self.size[modality] if isinstance(self.size, Mapping) else self.size
        return len(self.statistics.mean[modality]), height, width


def make_spec(student: nn.Module, teacher: Teacher, data: TransferData) -> FeatureSpec:
    """The sizes of both networks for their modalities, and of the training set."""
    return FeatureSpec(
        student=measure(student, data.shape(data.modality)),
        teacher=measure(teacher.network, data.shape(teacher.modality)),
        num_samples=len(data.dataset),
        labels=data.labels,
        teacher_classifier=classifier_of(teacher.network, data.shape(teacher.modality)),
        groups=data.groups,
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


def check_mixed(terms: Mapping[str, Term]) -> None:
    """Raise `ValueError`, naming a setting that works, for a term that cannot learn from mixed images."""
    for name, term in terms.items():
        if term.keeps_samples:
            remedy = "--setting crd.negatives=batch contrasts it" if name == "crd" else "contrast it"
            raise UserError(
                f"{name} keeps a row of every sample in its memory, and an image mixed of two "
                f"(--transfer.mix) has none: {remedy} with the others of its batch"
            )
