"""What a student learns from several teachers: their predictions put together, or a term for each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..distillers import METHODS, Context, Pair, Term, share_student_side
from ..distillers.tensors import full_precision
from ..models import Outputs

TARGETS = ("mean", "logits", "weighted")

READ_MAPS = ("fitnet", "at", "sp", "vid", "nst")
"""Methods that compare maps, and so need the teachers themselves."""


def soft_targets(
    teacher_logits: Tensor, *, temperature: float, target: str = "mean", label: Tensor | None = None
) -> Tensor:
    """Logarithm of the softened probabilities that an ensemble predicts together, (B, C).

    Args:
        teacher_logits: of N teachers, (N, B, C).
        temperature: T.
        target: `mean` of the probabilities · `logits`: softmax of the mean of the logits · `weighted`: mean
            of the probabilities, in each sample weighted by what each teacher gives its label at T = 1.
        label: (B,), for `weighted`.
    """
    if target == "logits":
        return F.log_softmax(teacher_logits.mean(0) / temperature, dim=1)
    log_p = F.log_softmax(teacher_logits / temperature, dim=2)
    if target == "mean":
        weight = log_p.new_full((len(log_p), log_p.shape[1]), 1 / len(log_p)).log()
    elif target == "weighted" and label is not None:
        confidence = F.log_softmax(teacher_logits, dim=2).gather(2, label.expand(len(log_p), -1)[..., None])
        weight = F.log_softmax(confidence[..., 0], dim=0)
    else:
        raise ValueError(
            f"target must be one of {', '.join(TARGETS)}, `weighted` with labels; got {target!r}"
        )
    return torch.logsumexp(log_p + weight[..., None], dim=0)


@full_precision
def ensemble_kd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    temperature: float = 4.0,
    target: str = "mean",
    label: Tensor | None = None,
) -> Tensor:
    """T² · KL(ensemble ‖ student) of softened predictions, a scalar: `kd` of one teacher where N = 1.

    The mean over teachers of the KL from each differs from that from their mean by a constant: the gradients
    are the same. Weights by sample: Zhang et al., Confidence-aware multi-teacher distillation, 2022, in the
    plainest form.

    Args:
        student_logits: (B, C).
        teacher_logits: (N, B, C).
        temperature, target, label: as for `soft_targets`.
    """
    student = F.log_softmax(student_logits / temperature, dim=1)
    teacher = soft_targets(teacher_logits, temperature=temperature, target=target, label=label)
    return (F.kl_div(student, teacher, reduction="none", log_target=True).sum(1) * temperature**2).mean()


def methods_of_many(*, reduction: str = "sum", share_student: bool = False) -> dict[str, Callable[..., Term]]:
    """The methods of an ensemble by name; a maker takes a `Pair` for each teacher.

    `kd-mean` (also `kd`), `kd-logits` and `kd-weighted` put the teachers' predictions together. `crd` and the
    other distillers are a term for each teacher; those that train something before the distillation, or
    keep a part of the teacher, know one teacher alone and are missing.

    Args:
        reduction: "sum" of the teachers' terms, as in Tian et al., 2020, or their "mean".
        share_student: one head and one memory of the student for all teachers of `crd`, not one for each.
    """
    if reduction not in ("sum", "mean"):
        raise ValueError(f"reduction must be sum or mean, got {reduction!r}")
    each = {
        name: _for_each(maker, mean=reduction == "mean", share=share_student)
        for name, maker in METHODS.items()
        if name not in ("kd", "ab", "ft", "fsp", "simkd", "reviewkd")
    }
    kd = {f"kd-{target}": _kd_of_many(target) for target in TARGETS}
    return {"kd": kd["kd-mean"], **kd, **each}


class _Logits(nn.Module):
    """The student's logits (B, C) and the teachers' (N, B, C)."""

    def forward(self, student: Outputs, teachers: Sequence[Outputs]) -> tuple[Tensor | None, Tensor]:
        return student.logits, torch.stack([_logits(teacher) for teacher in teachers])


class _SoftTargets(nn.Module):
    """`ensemble_kd` as an objective."""

    def __init__(self, temperature: float, target: str) -> None:
        super().__init__()
        self.temperature, self.target = temperature, target

    def forward(self, student: Tensor, teachers: Tensor, *, context: Context) -> Tensor:
        return ensemble_kd(
            student, teachers, temperature=self.temperature, target=self.target, label=context.label
        )


class _ProjectEach(nn.Module):
    """What every teacher's term compares, one after the other."""

    def __init__(self, projectors: Sequence[nn.Module]) -> None:
        super().__init__()
        self.each = nn.ModuleList(projectors)

    def forward(self, student: Outputs, teachers: Sequence[Outputs]) -> tuple[Any, ...]:
        pairs = zip(self.each, teachers, strict=True)
        return tuple(tensor for project, teacher in pairs for tensor in project(student, teacher))


class _CompareEach(nn.Module):
    """The sum, or the mean, of every teacher's objective."""

    def __init__(self, objectives: Sequence[nn.Module], *, mean: bool) -> None:
        super().__init__()
        self.each = nn.ModuleList(objectives)
        self.mean = mean

    def forward(self, *projected: Any, context: Context) -> Tensor:
        parts = zip(self.each, self._shared_out(projected), strict=True)
        losses = torch.stack([objective(*part, context=context) for objective, part in parts])
        return losses.mean() if self.mean else losses.sum()

    def update(self, index: Tensor, *projected: Tensor) -> None:
        """Write every teacher's memory, and the student's."""
        for objective, part in zip(self.each, self._shared_out(projected), strict=True):
            update: Callable[..., None] = objective.update  # type: ignore[assignment]
            update(index, *part)

    def _shared_out(self, projected: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        width = len(projected) // len(self.each)
        return [projected[start : start + width] for start in range(0, len(projected), width)]


def _kd_of_many(target: str) -> Callable[..., Term]:
    def make(pairs: Sequence[Pair], *, weight: float | None = None, temperature: float = 4.0) -> Term:
        term = METHODS["kd"](pairs[0], weight=weight, temperature=temperature)
        return replace(term, projector=_Logits(), objective=_SoftTargets(temperature, target))

    return make


def _for_each(maker: Callable[..., Term], *, mean: bool, share: bool) -> Callable[..., Term]:
    @wraps(maker)
    def make(pairs: Sequence[Pair], **settings: Any) -> Term:
        terms = [maker(pair, **settings) for pair in pairs]
        if share:
            share_student_side(terms)
        first = terms[0]
        return replace(
            first,
            projector=_ProjectEach([term.projector for term in terms]),
            objective=_CompareEach([term.objective for term in terms], mean=mean),
            # Of a term with a memory both of its tensors are written.
            written=tuple(range(2 * len(terms))) if first.written else (),
        )

    return make


def _logits(teacher: Outputs) -> Tensor:
    if teacher.logits is None:
        raise ValueError("a teacher without logits has no prediction to learn from")
    return teacher.logits
