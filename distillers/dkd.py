"""Decoupled knowledge distillation: the target class and the other classes, weighted apart."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ..common import NonNegative, Positive, UserError
from ..contrast import check_positive
from .kd import standardize_logits
from .logits import select_logits
from .ops import check_logits, full_precision, kl, labels_at
from .spec import FeatureSpec, need_labels
from .term import StatelessLoss, Term


@full_precision
def dkd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    label: Tensor,
    *,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
    standardize: bool = False,
) -> Tensor:
    """Decoupled knowledge distillation: L = T² · mean_b (α · TCKD + β · NCKD).

    With p the teacher's softened probability of the target class y, TCKD is the KL of (p, 1 − p) and NCKD
    that of the predictions among the other classes. KD is TCKD + (1 − p) · NCKD: it is deaf to the other
    classes where the teacher is sure, and β is not. Zhao et al., Decoupled Knowledge Distillation, 2022,
    Eq. 7.

    Args:
        student_logits: (B, C), C at least 2; or (B, C, H, W) of a segmenter: the mean is over the positions
            that have a class.
        teacher_logits: of the same shape.
        label: y, (B,) int64 in [0, C); for a segmenter (B, H', W'), with other numbers, such as 255, for
            pixels that do not count.
        alpha: α.
        beta: β.
        temperature: T, positive.
        standardize: put `standardize_logits` of both in the place of the logits.

    Raises:
        ValueError: for shapes that do not agree, a single class, or a temperature that is not positive.
    """
    check_logits(student_logits, teacher_logits)
    check_positive(temperature=temperature)
    classes = student_logits.shape[1]
    if classes < 2:
        raise UserError("dkd needs at least two classes, got logits of one")
    batch, axes = len(student_logits), student_logits.ndim - 1
    if label.ndim != axes or len(label) != batch or label.dtype != torch.int64:
        wanted = (batch,) if axes == 1 else (batch, "H", "W")
        raise UserError(f"label must be int64 of shape {wanted}, got {label.dtype} {tuple(label.shape)}")
    if standardize:
        student_logits, teacher_logits = map(standardize_logits, (student_logits, teacher_logits))
    student, teacher = student_logits / temperature, teacher_logits / temperature
    label = labels_at(label, student)
    counted = (label >= 0) & (label < classes)
    own = label if label.ndim == 1 else label.where(counted, 0)
    target = torch.zeros_like(student, dtype=torch.bool).scatter(1, own[:, None], True)
    tckd = kl(_binary(student, target), _binary(teacher, target))
    nckd = kl(_others(student, target), _others(teacher, target))
    each = alpha * tckd + beta * nckd
    mean = each.mean() if label.ndim == 1 else (each * counted).sum() / counted.sum().clamp(min=1)
    return mean * temperature**2


def _binary(logits: Tensor, target: Tensor) -> Tensor:
    """Log-probabilities of the target class and of all others together, (B, 2, …)."""
    others = logits.masked_fill(target, -torch.inf).logsumexp(1)
    own = logits.masked_fill(~target, 0).sum(1)
    return F.log_softmax(torch.stack([own, others], dim=1), dim=1)


def _others(logits: Tensor, target: Tensor) -> Tensor:
    """Log-probabilities among the other classes, (B, C, …); 0 at the target, where both sides agree."""
    return F.log_softmax(logits.masked_fill(target, -torch.inf), dim=1).masked_fill(target, 0)


def make_dkd(
    spec: FeatureSpec,
    *,
    weight: NonNegative | None = None,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: Positive | None = None,
    standardize: bool = False,
    warmup_epochs: NonNegative = 20.0,
) -> Term:
    """Decoupled knowledge distillation (`dkd`) of the logits; needs labels.

    Args:
        spec: two classifiers of the same classes.
        weight: of α · TCKD + β · NCKD. None for the published one: 1; with `standardize` 9.
        alpha: α.
        beta: β; 8 is the source's default and that of resnet32x4→resnet8x4, vgg13→vgg8 has 6.
        temperature: None for the published one: 4; with `standardize` 2.
        standardize: compare the logits' z-scores (Sun et al., 2024).
        warmup_epochs: of the weight.
    """
    projector = select_logits(spec, "dkd", dense=True)
    need_labels(spec, "dkd")
    if temperature is None:
        temperature = 2.0 if standardize else 4.0
    return Term(
        projector,
        StatelessLoss(
            partial(dkd, alpha=alpha, beta=beta, temperature=temperature, standardize=standardize),
            labels=True,
        ),
        weight=(9.0 if standardize else 1.0) if weight is None else weight,
        warmup_epochs=warmup_epochs,
    )
