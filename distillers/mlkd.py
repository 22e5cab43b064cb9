"""Multi-level logit distillation: predictions, and what samples and classes have in common in them."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from ..common import NonNegative
from ..contrast import check_positive
from .kd import softened_kl
from .logits import select_logits
from .ops import check_same, full_precision
from .spec import FeatureSpec
from .term import StatelessLoss, Term

TEMPERATURES = (2.0, 3.0, 4.0, 5.0, 6.0)
"""Published, for CIFAR-100."""


@full_precision
def mlkd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    instance_weight: float = 0.75,
    batch_weight: float = 0.25,
    class_weight: float = 0.25,
    temperatures: Sequence[float] = TEMPERATURES,
) -> Tensor:
    """Multi-level logit distillation: L = Σ_T (w_i · instance + w_b · batch + w_c · class).

    Of the predictions p = softmax(logits / T), (B, C): instance is T² · KL, as in `kd`; batch is
    ‖p_t p_tᵀ − p_s p_sᵀ‖² / B, of which samples are predicted alike; class is ‖p_tᵀ p_t − p_sᵀ p_s‖² / C, of
    which classes are confused. Jin et al., Multi-Level Logit Distillation, 2023.

    This is the loss on one view of an image. The published training sees a weak and a strong one, for 240
    epochs at half of the usual rate, and for 480 or 960 with students of another architecture. Its code adds
    up both views' losses, and keeps of the weak view's the half of the samples, or classes, of which the
    teacher is less sure; but each loss is averaged before, so that this only halves it. What is left, with
    both views the same and the mean of them in the place of the sum, are the weights here: ½ + 1 of the
    instances, ½ of the other two. So the published figures are not claimed for it.

    Args:
        student_logits: (B, C).
        teacher_logits: (B, C).
        instance_weight: w_i.
        batch_weight: w_b.
        class_weight: w_c.
        temperatures: each T, positive.

    Raises:
        ValueError: for shapes that are not the same (B, C), or a temperature that is not positive.
    """
    check_same(student_logits, teacher_logits, ndim=2, axes="(B, C)")
    losses = []
    for temperature in temperatures:
        check_positive(temperature=temperature)
        student, teacher = (x.div(temperature).softmax(dim=1) for x in (student_logits, teacher_logits))
        losses += [
            instance_weight * softened_kl(student_logits, teacher_logits, temperature).mean(),
            batch_weight * (teacher @ teacher.T - student @ student.T).square().sum() / len(student),
            class_weight * (teacher.T @ teacher - student.T @ student).square().sum() / student.shape[1],
        ]
    return torch.stack(losses).sum()


def make_mlkd(
    spec: FeatureSpec,
    *,
    weight: NonNegative = 0.9,
    instance_weight: float = 0.75,
    batch_weight: float = 0.25,
    class_weight: float = 0.25,
) -> Term:
    """Multi-level logit distillation (`mlkd`) of the logits, on one view of each image.

    Args:
        spec: two classifiers of the same classes.
        weight: published, beside a cross-entropy of 0.1; also beside other terms and a whole one.
        instance_weight: of the samples' predictions.
        batch_weight: of what samples have in common.
        class_weight: of what classes have in common.
    """
    loss = partial(
        mlkd, instance_weight=instance_weight, batch_weight=batch_weight, class_weight=class_weight
    )
    return Term(
        select_logits(spec, "mlkd"), StatelessLoss(loss, relational=True), weight=weight, task_weight=0.1
    )
