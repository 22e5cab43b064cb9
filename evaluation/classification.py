"""Metrics of a classifier over a whole data set, alone and beside its teacher."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NotRequired, TypedDict, Unpack

import torch
from torch import Tensor

from ..common import UserError
from .batches import Reading, judging, read_batches, sum_over_ranks

SUMS = ("count", "top1", "top5", "cross_entropy", "agreement", "divergence")


class ClassificationMetrics(TypedDict):
    """Means over all samples of a data set, and counts; the last five only where there is a teacher."""

    top1: float
    """Fraction of 1."""
    cross_entropy: float
    """Of the labels under the student, nats."""
    confusion: list[list[int]]
    """A row for each true class, in it the counts of the classes that were named."""
    top5: NotRequired[float]
    """Fraction of 1; from 5 classes on."""
    agreement: NotRequired[float]
    """Share of the samples where student and teacher name the same class."""
    divergence: NotRequired[float]
    """KL(teacher ‖ student) at temperature 1, nats."""
    correlation_difference: NotRequired[float]
    """Mean over all pairs of classes of |correlation - teacher_correlation|."""
    correlation: NotRequired[Tensor]
    """Correlation matrix of the student's logits, (C, C) float64; see `Correlation.matrix`."""
    teacher_correlation: NotRequired[Tensor]
    """The teacher's, (C, C)."""


class Correlation:
    """Correlation matrix of the columns of rows that come in batches, from running means and co-moments.

    Sums in float64, each batch centered on its own mean before it is added (Chan, Golub, LeVeque, 1983):
    sums of raw squares would cancel where a mean is large against the deviation.

    Args:
        columns: C, of every batch.
    """

    def __init__(self, columns: int) -> None:
        if columns < 1:
            raise ValueError(f"columns must be at least 1, got {columns}")
        self.count = torch.zeros((), dtype=torch.float64)
        self.mean = torch.zeros(columns, dtype=torch.float64)
        self.comoment = torch.zeros(columns, columns, dtype=torch.float64)

    def update(self, rows: Tensor) -> None:
        """Adds rows (B, C), B of any size."""
        if rows.ndim != 2 or rows.shape[1] != len(self.mean):
            raise ValueError(f"rows must be (B, {len(self.mean)}), got {tuple(rows.shape)}")
        if len(rows) == 0:
            return
        rows = rows.detach().cpu().double()
        mean, total = rows.mean(0), self.count + len(rows)
        gap, centered = mean - self.mean, rows - mean
        self.comoment += centered.T @ centered + torch.outer(gap, gap) * (self.count * len(rows) / total)
        self.mean += gap * (len(rows) / total)
        self.count = total

    def reduce(self) -> None:
        """Puts the rows of all ranks together, on every rank; without process group nothing changes."""
        count = sum_over_ranks(self.count)
        mean = sum_over_ranks(self.mean * self.count) / count.clamp_min(1)
        gap = self.mean - mean
        self.comoment = sum_over_ranks(self.comoment + torch.outer(gap, gap) * self.count)
        self.count, self.mean = count, mean

    def matrix(self) -> Tensor:
        """(C, C) in [-1, 1], float64; NaN in the row and column of one that does not vary."""
        deviation = self.comoment.diagonal().sqrt()
        return (self.comoment / torch.outer(deviation, deviation)).clamp(-1, 1)  # 0 / 0 is NaN


class ClassificationSums:
    """All sums that `ClassificationMetrics` are made of; no logit is kept.

    Classes are ranked by their logit, equal ones by their number, so that top-1 and top-5 agree where half
    precision makes logits equal.

    Args:
        num_classes: C of the logits; labels are 0 … C - 1.
        teacher: every update brings a teacher's logits.
    """

    def __init__(self, num_classes: int, *, teacher: bool = False) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}")
        self.num_classes = num_classes
        self.sums = dict.fromkeys(SUMS, 0.0)
        self.confusion = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        self.correlations = tuple(Correlation(num_classes) for _ in range(2)) if teacher else ()

    def update(self, logits: Tensor, label: Tensor, teacher_logits: Tensor | None = None) -> None:
        """Adds a batch.

        Args:
            logits: (B, C) of any floating type; B may differ from batch to batch.
            label: (B,) integers.
            teacher_logits: (B, C), if and only if there is a teacher.

        Raises:
            ValueError: for other shapes, a label out of range, NaN or infinity in logits.
        """
        if (teacher_logits is not None) != bool(self.correlations):
            raise ValueError("teacher_logits must come with every update where teacher=True, and never else")
        student = self._checked("logits", logits)
        if label.shape != student.shape[:1]:
            raise ValueError(f"label must be ({len(student)},), got {tuple(label.shape)}")
        if len(student) == 0:
            return
        label = label.cpu().long()
        low, high = int(label.min()), int(label.max())
        if low < 0 or high >= self.num_classes:
            raise UserError(f"label must be 0 … {self.num_classes - 1}, got {low} … {high}")
        teacher = None if teacher_logits is None else self._checked("teacher_logits", teacher_logits)
        if teacher is not None and teacher.shape != student.shape:
            raise ValueError(
                f"teacher_logits must be {tuple(student.shape)} like logits, got {tuple(teacher.shape)}"
            )
        log_p = student.log_softmax(1)
        rank = _rank(student, label)
        self._add("count", torch.ones(len(student)))
        self._add("top1", rank == 0)
        self._add("top5", rank < 5)
        self._add("cross_entropy", -log_p.gather(1, label[:, None]))
        classes = self.num_classes
        named = label * classes + student.argmax(1)
        self.confusion += torch.bincount(named, minlength=classes * classes).view(classes, classes)
        if teacher is None:
            return
        log_q = teacher.log_softmax(1)
        self._add("agreement", student.argmax(1) == teacher.argmax(1))
        self._add("divergence", log_q.exp() * (log_q - log_p))
        for correlation, rows in zip(self.correlations, (student, teacher), strict=True):
            correlation.update(rows)

    def reduce(self) -> None:
        """Adds up the sums of all ranks, on every rank; without process group nothing changes.

        Call it once, after the last update. Samples that a sampler serves twice, to fill up a batch, count
        twice.
        """
        totals = sum_over_ranks(torch.tensor(list(self.sums.values()), dtype=torch.float64))
        self.sums = dict(zip(SUMS, totals.tolist(), strict=True))
        self.confusion = sum_over_ranks(self.confusion)
        for correlation in self.correlations:
            correlation.reduce()

    def compute(self) -> ClassificationMetrics:
        """The metrics of all samples seen. Raises `ValueError` without any."""
        count = self.sums["count"]
        if count == 0:
            raise UserError("there is no sample to evaluate")
        metrics: ClassificationMetrics = {
            "top1": self.sums["top1"] / count,
            "cross_entropy": self.sums["cross_entropy"] / count,
            "confusion": self.confusion.tolist(),
        }
        if self.num_classes >= 5:
            metrics["top5"] = self.sums["top5"] / count
        if self.correlations:
            student, teacher = (correlation.matrix() for correlation in self.correlations)
            metrics["agreement"] = self.sums["agreement"] / count
            metrics["divergence"] = self.sums["divergence"] / count
            metrics["correlation_difference"] = float((student - teacher).abs().nanmean())
            metrics["correlation"], metrics["teacher_correlation"] = student, teacher
        return metrics

    def _checked(self, name: str, logits: Any) -> Tensor:
        if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[1] != self.num_classes:
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(f"{name} must be (B, {self.num_classes}), got {got}")
        if not torch.isfinite(logits).all():
            raise UserError(f"{name} hold NaN or infinity, after {self.sums['count']:.0f} samples without")
        return logits.detach().cpu().double()

    def _add(self, name: str, values: Tensor) -> None:
        self.sums[name] += float(values.sum(dtype=torch.float64))


def evaluate_classifier(
    network: Callable[[Any], Any],
    batches: Iterable[Mapping[str, Tensor]] | Any,
    num_classes: int,
    *,
    teacher: Callable[[Any], Any] | None = None,
    teacher_modality: str | None = None,
    **how: Unpack[Reading],
) -> ClassificationMetrics:
    """Judges a classifier over a data set, and how near it is to its teacher.

    The difference of the two correlation matrices is the picture of Tian et al., 2020, section 4.1: what the
    student learnt of how the teacher's classes go together.

    Args:
        network: gives logits (B, num_classes), or an object with such `.logits` (`Outputs`). A module runs in
            eval mode and gets its mode back.
        batches: as `Reading` says; "label" is (B,).
        num_classes: C.
        teacher: the same as `network`, or None.
        teacher_modality: the entry that the teacher takes; None for that of `network`.
        how: the batches are read.

    Raises:
        ValueError: for no samples, logits of another shape or not finite, labels out of range.
        KeyError: for a batch without a modality or "label"; what it has is listed.
    """
    sums = ClassificationSums(num_classes, teacher=teacher is not None)
    modality = how.get("modality")
    teacher_modality = teacher_modality or modality
    names = ("label", modality, teacher_modality if teacher is not None else None)
    with judging(network, teacher):
        for batch in read_batches(batches, network, names, **how):
            outputs = [
                predict(batch if name is None else batch[name])
                for predict, name in ((network, modality), (teacher, teacher_modality))
                if predict is not None
            ]
            student, *others = (getattr(output, "logits", output) for output in outputs)
            sums.update(student, batch["label"], *others)
    if how.get("sharded"):
        sums.reduce()
    return sums.compute()


def _rank(logits: Tensor, label: Tensor) -> Tensor:
    """How many classes come before the label, (B,): those of a larger logit, or of an equal one and a
    smaller number."""
    own = logits.gather(1, label[:, None])
    before = torch.arange(logits.shape[1]) < label[:, None]
    return ((logits > own) | ((logits == own) & before)).sum(1)
