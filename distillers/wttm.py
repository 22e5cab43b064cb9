"""Weighted transformed teacher matching: a temperature for the teacher alone, a weight for each sample."""

from functools import partial

import torch.nn.functional as F
from torch import Tensor

from ..common import NonNegative, Positive
from ..contrast import check_positive
from .logits import select_logits
from .ops import check_logits, full_precision, kl
from .spec import FeatureSpec
from .term import StatelessLoss, Term


@full_precision
def wttm(student_logits: Tensor, teacher_logits: Tensor, *, exponent: float = 0.2) -> Tensor:
    """Weighted transformed teacher matching: L = mean_b U_b · KL(p_t^γ / U_b ‖ p_s), with U_b = Σ_c p_t^γ.

    p_t^γ / U is the teacher at temperature 1/γ; the student has none. U, from 1 for a one-hot prediction to
    C^(1−γ) for a uniform one, weighs samples of which the teacher is less sure more; γ = 1 is `kd` at
    temperature 1. Zheng & Yang, Knowledge Distillation Based on Transformed Teacher Matching, 2024.

    Args:
        student_logits: (B, C), or (B, C, H, W) of a segmenter: the mean is over all positions.
        teacher_logits: of the same shape.
        exponent: γ, positive.

    Raises:
        ValueError: for shapes that are not the same, or an exponent that is not positive.
    """
    check_logits(student_logits, teacher_logits)
    check_positive(exponent=exponent)
    log_powers = exponent * F.log_softmax(teacher_logits, dim=1)
    weight = log_powers.logsumexp(1).exp()
    return (weight * kl(F.log_softmax(student_logits, dim=1), F.log_softmax(log_powers, dim=1))).mean()


def make_wttm(spec: FeatureSpec, *, weight: NonNegative = 4.0, exponent: Positive = 0.2) -> Term:
    """Weighted transformed teacher matching (`wttm`) of the logits, at each position if the teacher segments.

    Args:
        spec: two networks of the same classes, or a student without logits.
        weight: beside a whole cross-entropy. This and the exponent are those of the authors' command for
            `wttm+crd` of vgg13→vgg8; what they took for the method alone is not in their code.
        exponent: γ.
    """
    projector = select_logits(spec, "wttm", dense=True)
    return Term(projector, StatelessLoss(partial(wttm, exponent=exponent)), weight=weight)
