"""Several teachers: a term for each of them, or their predictions put together."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..common import NonNegative, Positive, UserError
from ..contrast import CriticHeads, InstanceContrast
from ..models import Outputs
from .dropping import keep_teachers, mean_of_kept
from .kd import make_kd, standardize_logits
from .logits import resized
from .ops import full_precision, kl, labels_at
from .spec import BatchMeta, FeatureSpec, classes, need_labels
from .term import PretrainStage, StatelessLoss, Term, loss_of_each

TARGETS = ("mean", "logits", "weighted")


def soft_targets(
    teacher_logits: Tensor, *, temperature: float, target: str = "mean", label: Tensor | None = None
) -> Tensor:
    """Logarithm of the softened probabilities that an ensemble predicts together, (B, C, …).

    Args:
        teacher_logits: of N teachers, (N, B, C), or (N, B, C, H, W) of segmenters.
        temperature: T.
        target: `mean` of the probabilities · `logits`: softmax of the mean of the logits · `weighted`: mean
            of the probabilities, in each sample weighted by what each teacher gives its label at T = 1.
        label: for `weighted`, (B,), or (B, H', W') of segmenters; where it is no class all weigh alike.

    Raises:
        ValueError: an unknown target, or `weighted` without a label for each sample.
    """
    if target == "logits":
        return F.log_softmax(teacher_logits.mean(0) / temperature, dim=1)
    log_p = F.log_softmax(teacher_logits / temperature, dim=2)
    if target == "mean":
        weight = log_p.new_full(log_p.select(2, 0).shape, 1 / len(log_p)).log()
    elif target == "weighted" and label is not None and label.ndim == log_p.ndim - 2:
        label = labels_at(label, log_p)
        known = (label >= 0) & (label < log_p.shape[2])
        places = label.where(known, 0).expand(len(log_p), *label.shape)[:, :, None]
        confidence = F.log_softmax(teacher_logits, dim=2).gather(2, places)[:, :, 0]
        weight = F.log_softmax(confidence.where(known, 0), dim=0)
    else:
        raise UserError(
            f"target must be one of {', '.join(TARGETS)}, `weighted` with a label a sample; got {target!r}"
        )
    return torch.logsumexp(log_p + weight.unsqueeze(2), dim=0)


@full_precision
def ensemble_kd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    temperature: float = 4.0,
    target: str = "mean",
    standardize: bool = False,
    label: Tensor | None = None,
) -> Tensor:
    """T² · KL(ensemble ‖ student) of softened predictions, a scalar: `kd` of one teacher if N = 1.

    The mean over teachers of the KL from each differs from that from their mean by a constant: the gradients
    are the same.

    Args:
        student_logits: (B, C), or (B, C, H, W) of a segmenter: the mean is over all positions.
        teacher_logits: (N, B, C, …).
        temperature, target, label: as for `soft_targets`.
        standardize: put `standardize_logits` of all in the place of the logits.
    """
    if standardize:
        student_logits = standardize_logits(student_logits)
        teacher_logits = torch.stack([standardize_logits(logits) for logits in teacher_logits])
    student = F.log_softmax(student_logits / temperature, dim=1)
    teacher = soft_targets(teacher_logits, temperature=temperature, target=target, label=label)
    return (kl(student, teacher) * temperature**2).mean()


class TogetherLogits(nn.Module):
    """The student's logits (B, C, …) and those of N teachers, (N, B, C, …), at the size of the first."""

    def __init__(self, projector: nn.Module, teachers: int) -> None:
        super().__init__()
        self.project = projector
        self.reads = (frozenset({"logits"}),) * teachers

    def forward(self, student: Outputs, teachers: Sequence[Outputs]) -> tuple[Tensor, Tensor]:
        ours, first = self.project(student, teachers[0])
        return ours, torch.stack([first, *(resized(t.logits, first) for t in teachers[1:])])


class EachTeacher(nn.Module):
    """What every teacher's term compares: a tuple of its tensors for each teacher."""

    def __init__(self, projectors: Sequence[nn.Module]) -> None:
        super().__init__()
        self.each = nn.ModuleList(projectors)
        self.reads = tuple(_reads_of(projector) for projector in projectors)

    def forward(self, student: Outputs | None, teachers: Sequence[Outputs]) -> tuple[tuple[Any, ...], ...]:
        pairs = zip(self.each, teachers, strict=True)
        return tuple(project(student, teacher) for project, teacher in pairs)


class _CompareEach(nn.Module):
    """The sum, or the mean, of every teacher's objective; in training without what is dropped."""

    def __init__(self, objectives: Sequence[nn.Module], *, mean: bool, drop: float) -> None:
        super().__init__()
        self.each = nn.ModuleList(objectives)
        self.mean, self.drop = mean, drop

    def forward(self, *projected: tuple[Any, ...], meta: BatchMeta) -> Tensor:
        pairs = zip(self.each, projected, strict=True)
        if self.drop and self.training and len(self.each) > 1:
            of_each = torch.stack([loss_of_each(objective, part, meta) for objective, part in pairs])
            mean = mean_of_kept(of_each, keep_teachers(of_each, drop=self.drop))
            return mean if self.mean else len(of_each) * mean
        losses = torch.stack([objective(*part, meta=meta) for objective, part in pairs])
        return losses.mean() if self.mean else losses.sum()

    def update(self, index: Tensor, *remembered: Tensor) -> None:
        """Write every teacher's memory, and the student's."""
        width = len(remembered) // len(self.each)
        for number, objective in enumerate(self.each):
            update: Callable[..., None] = objective.update  # type: ignore[assignment]
            update(index, *remembered[number * width : (number + 1) * width])


class _TermOfEach(Term):
    """A term whose projected tensors come in a tuple for each teacher; `memory_inputs` counts within one."""

    def to_remember(self, projected: tuple[Any, ...]) -> tuple[Tensor, ...]:
        return tuple(part[i].detach() for part in projected for i in self.memory_inputs)


def for_each_teacher(
    method: str, terms: Sequence[Term], *, mean: bool = False, share: bool = False, drop: float = 0.0
) -> Term:
    """The terms of a method for each teacher as one term, over the outputs of all of them.

    Args:
        terms: one for each teacher.
        mean: average them instead of adding them up.
        share: one head and one memory of the student for all teachers of `crd`.
        drop: probability that a teacher is left out of a sample's loss (`keep_teachers`), or of the batch's
            if the method has no loss of a sample.

    Raises:
        ValueError: several teachers for a method that trains something before the transfer or keeps a part of
            its teacher, or a projector that does not say what it reads.
    """
    first = terms[0]
    if len(terms) > 1 and (first.pretrain is not None or first.deploy is not None):
        raise UserError(f"{method} knows one teacher alone, and there are {len(terms)}")
    if share:
        _share_student_side(terms)

    def lifted(parts: Sequence[Term | PretrainStage]) -> dict[str, Any]:
        return {
            "projector": EachTeacher([part.projector for part in parts]),
            "objective": _CompareEach([part.objective for part in parts], mean=mean, drop=drop),
        }

    pretrain = None if first.pretrain is None else replace(first.pretrain, **lifted([first.pretrain]))
    own = {field.name: getattr(first, field.name) for field in fields(first)}
    return _TermOfEach(**own | lifted(terms) | {"pretrain": pretrain})


def _share_student_side(terms: Sequence[Term]) -> None:
    """Give several teachers' terms of `crd` one head and one memory of their student, the first's."""
    heads = [part for term in terms for part in term.projector.modules() if isinstance(part, CriticHeads)]
    contrasts = [p for term in terms for p in term.objective.modules() if isinstance(p, InstanceContrast)]
    if len(contrasts) == len(heads) == len(terms):
        for own, contrast in zip(heads[1:], contrasts[1:], strict=True):
            own.student = heads[0].student
            contrast.share_bank_student(contrasts[0])


def _reads_of(projector: nn.Module) -> frozenset[str]:
    reads = getattr(projector, "reads", None)
    if not isinstance(reads, frozenset):
        raise UserError(
            f"{type(projector).__name__} must say what it reads of the teacher, such as "
            "reads = frozenset({'embedding'})"
        )
    return reads


def check_classes(specs: Sequence[FeatureSpec], method: str) -> None:
    """Raise `ValueError` for teachers without logits, or of other classes than the first."""
    found = [classes(spec, method) for spec in specs]
    if len({logits[0] for logits in found}) > 1:
        listed = ", ".join(map(str, found))
        raise UserError(f"{method} needs teachers of the same classes, got logits of {listed}")


def make_kd_together(
    specs: Sequence[FeatureSpec],
    *,
    target: str,
    weight: NonNegative | None = None,
    temperature: Positive | None = None,
    standardize: bool = False,
) -> Term:
    """Knowledge distillation from what several teachers predict together (`ensemble_kd`); of one, `kd`.

    Args:
        specs: of teachers with the same classes.
        target: as for `soft_targets`.
        weight, temperature, standardize: as for `make_kd`.
    """
    settings: dict[str, Any] = {"weight": weight, "temperature": temperature, "standardize": standardize}
    term = make_kd(specs[0], **settings)
    check_classes(specs, f"kd-{target}")
    if target == "weighted":
        need_labels(specs[0], "kd-weighted")
    objective = partial(
        ensemble_kd,
        temperature=temperature or (2.0 if standardize else 4.0),
        target=target,
        standardize=standardize,
    )
    return replace(
        term,
        projector=TogetherLogits(term.projector, len(specs)),
        objective=StatelessLoss(objective, labels=target == "weighted"),
    )


def make_kd_each(specs: Sequence[FeatureSpec], *, drop: float, **settings: Any) -> Term:
    """`kd-mean` as the mean over teachers of the distillation from each, without those that are dropped.

    Args:
        specs: of teachers with the same classes.
        drop: as for `for_each_teacher`.
        settings: of `make_kd`.
    """
    check_classes(specs, "kd-mean")
    return for_each_teacher("kd-mean", [make_kd(specs[0], **settings)] * len(specs), mean=True, drop=drop)
