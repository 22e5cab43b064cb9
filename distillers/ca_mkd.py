"""Confidence-aware distillation: each sample listens to the teachers that know its label."""

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..common import NonNegative, Positive, UserError
from ..contrast import check_positive
from ..models import Outputs
from .ensemble import TogetherLogits, check_classes
from .logits import select_logits
from .ops import check_maps, full_precision, kl, labels_at, same_size
from .spec import FeatureSpec, map_at, need_labels, refusal
from .term import StatelessLoss, Term


@full_precision
def confidence(logits: Tensor, label: Tensor) -> Tensor:
    """How much each teacher counts for each sample: w_k = (1 − softmax_k(CE_k)) / (N − 1), (N, B, …).

    CE_k is the cross-entropy of teacher k with the label at T = 1. Over the teachers the weights add up to 1;
    one teacher alone has 1. Zhang et al., Confidence-Aware Multi-Teacher Knowledge Distillation, 2022.

    Args:
        logits: of N teachers, (N, B, C), or (N, B, C, H, W) of segmenters.
        label: (B,), or (B, H', W') of segmenters; where it is no class all weigh alike.

    Raises:
        ValueError: no label for each sample.
    """
    if logits.ndim < 3 or label.ndim != logits.ndim - 2 or len(label) != logits.shape[1]:
        raise UserError(
            "logits must be (N, B, C, …) and label (B, …), the class of every prediction, got "
            f"{tuple(logits.shape)} and {tuple(label.shape)}"
        )
    label = labels_at(label, logits[0])
    known = (label >= 0) & (label < logits.shape[2])
    places = label.where(known, 0).expand(len(logits), *label.shape)[:, :, None]
    cross_entropy = -F.log_softmax(logits, dim=2).gather(2, places)[:, :, 0]
    share = F.softmax(cross_entropy.where(known, 0), dim=0)
    return (1 - share) / (len(logits) - 1) if len(logits) > 1 else share


@full_precision
def ca_kd(
    student_logits: Tensor, teacher_logits: Tensor, label: Tensor, *, temperature: float = 4.0
) -> Tensor:
    """T² · mean_{k, b} w_k · KL(teacher k ‖ student) of softened predictions, with w the `confidence`.

    `kd` if there is one teacher. Zhang et al., 2022, with the mean over teachers that the published
    code takes.

    Args:
        student_logits: (B, C), or (B, C, H, W) of a segmenter: the mean is over all positions.
        teacher_logits: (N, B, C, …).
        label: as for `confidence`.
        temperature: T, positive.
    """
    check_positive(temperature=temperature)
    student = F.log_softmax(student_logits / temperature, dim=1)
    each = torch.stack([kl(student, F.log_softmax(t / temperature, dim=1)) for t in teacher_logits])
    return (confidence(teacher_logits, label) * each).mean() * temperature**2


@full_precision
def ca_hints(
    student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor], logits: Tensor, label: Tensor
) -> Tensor:
    """mean_{k, b} w_k · mean (s_k − t_k)², hints weighted by what the teachers' classifiers make of them.

    w is the `confidence` of the logits that teacher k's classifier gives to s_k, the student's map regressed
    to that teacher's. Zhang et al., 2022, with the mean over teachers of the published code. No
    gradient goes through w, which in the published code it does.

    Args:
        student_maps: s, one for each teacher, (B, C_k, H_k, W_k).
        teacher_maps: t, likewise, each of the same shape.
        logits: (N, B, C).
        label: (B,).
    """
    check_maps(student_maps, teacher_maps)
    pairs = zip(student_maps, teacher_maps, strict=True)
    each = torch.stack([(s - t).square().flatten(1).mean(1) for s, t in pairs])
    return (confidence(logits.detach(), label) * each).mean()


class ConfidentHints(nn.Module):
    """The student's last map in the channels of each teacher's, and what its classifier says of that.

    A 1×1 convolution, batch norm and ReLU for each teacher, at the smaller size of both maps along each axis.
    The classifiers are frozen copies; they read the average of the regressed map.

    Args:
        specs: one for each teacher, with its classifier.

    Raises:
        ValueError: for a teacher without a linear classifier of its last map's average.
    """

    def __init__(self, specs: Sequence[FeatureSpec]) -> None:
        super().__init__()
        self.numbers = tuple(len(spec.teacher.maps) - 1 for spec in specs)
        self.reads = tuple(frozenset({f"maps.{number}"}) for number in self.numbers)
        self.regress, self.classify = nn.ModuleList(), nn.ModuleList()
        for spec in specs:
            (inside, _, _), (channels, _, _) = map_at(spec, "ca-mkd", -1)
            classifier = spec.teacher_classifier
            if classifier is None or classifier.in_features != channels:
                raise refusal(
                    spec,
                    "ca-mkd",
                    "its hints go through a linear classifier of the teacher's last map, and "
                    "there is none; ca-mkd.hint_weight=0 compares the logits alone",
                )
            layers = nn.Conv2d(inside, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
            self.regress.append(nn.Sequential(*layers))
            self.classify.append(copy.deepcopy(classifier).requires_grad_(False))

    def forward(
        self, student: Outputs, teachers: Sequence[Outputs]
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], Tensor]:
        """Regressed and teachers' maps, (B, C_k, H_k, W_k) each, and the classifiers' logits, (N, B, C)."""
        sized = [same_size(student.maps[-1], t.maps[n]) for t, n in zip(teachers, self.numbers, strict=True)]
        ours = tuple(f(mine) for f, (mine, _) in zip(self.regress, sized, strict=True))
        with torch.no_grad():
            logits = [f(x.mean((2, 3))) for f, x in zip(self.classify, ours, strict=True)]
        return ours, tuple(theirs for _, theirs in sized), torch.stack(logits)


class _Both(nn.Module):
    """Logits and hints."""

    def __init__(self, logits: nn.Module, hints: ConfidentHints) -> None:
        super().__init__()
        self.logits, self.hints = logits, hints
        self.reads = tuple(frozenset({"logits"}) | maps for maps in hints.reads)

    def forward(self, student: Outputs, teachers: Sequence[Outputs]) -> tuple[Any, ...]:
        return *self.logits(student, teachers), *self.hints(student, teachers)


def _ca_mkd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *hints: Any,
    label: Tensor,
    temperature: float,
    hint_weight: float,
) -> Tensor:
    loss = ca_kd(student_logits, teacher_logits, label, temperature=temperature)
    if not hints:
        return loss
    student_maps, teacher_maps, logits = hints
    return loss + hint_weight * ca_hints(student_maps, teacher_maps, logits, label)


def make_ca_mkd(
    specs: Sequence[FeatureSpec],
    *,
    weight: NonNegative = 1.0,
    temperature: Positive = 4.0,
    hint_weight: NonNegative = 50.0,
) -> Term:
    """Confidence-aware distillation from several teachers: `ca_kd` + hint_weight · `ca_hints`; needs labels.

    Args:
        specs: of teachers with the same classes, each with its classifier.
        weight: published.
        temperature: T.
        hint_weight: published; 0 for the logits alone, which needs no classifiers and goes for segmenters.
    """
    check_classes(specs, "ca-mkd")
    need_labels(specs[0], "ca-mkd")
    projector: nn.Module = TogetherLogits(select_logits(specs[0], "ca-mkd", dense=True), len(specs))
    if hint_weight:
        projector = _Both(projector, ConfidentHints(specs))
    loss = partial(_ca_mkd, temperature=temperature, hint_weight=hint_weight)
    return Term(projector, StatelessLoss(loss, labels=True), weight=weight)
