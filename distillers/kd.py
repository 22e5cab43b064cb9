"""Knowledge distillation: the teacher's softened predictions as targets."""

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ..common import NonNegative, Positive, UserError
from ..contrast import check_positive
from .logits import select_logits
from .ops import check_logits, check_same, full_precision, kl, unit
from .spec import FeatureSpec
from .term import StatelessLoss, Term


@full_precision
def kd(
    student_logits: Tensor, teacher_logits: Tensor, *, temperature: float = 4.0, standardize: bool = False
) -> Tensor:
    """Knowledge distillation: KL(teacher || student) of softened predictions.

    L = T² · mean_b Σ_c p_t log(p_t / p_s), with p = softmax(logits / T); T² keeps the size of the gradient
    independent of the temperature. Hinton et al., Distilling the Knowledge in a Neural Network, 2015.

    Args:
        student_logits: (B, C), or (B, C, H, W) of a segmenter: the mean is over all positions.
        teacher_logits: of the same shape.
        temperature: T, positive.
        standardize: put `standardize_logits` of both in the place of the logits.

    Raises:
        ValueError: for shapes that are not the same, or a temperature that is not positive.
    """
    check_logits(student_logits, teacher_logits)
    if standardize:
        student_logits, teacher_logits = map(standardize_logits, (student_logits, teacher_logits))
    return softened_kl(student_logits, teacher_logits, temperature).mean()


@full_precision
def pixel_kd(
    student_logits: Tensor, teacher_logits: Tensor, *, temperature: float = 4.0, mask: Tensor | None = None
) -> Tensor:
    """`kd` at each position of a segmentation, averaged over the positions of all images.

    Args:
        student_logits: (B, C, H, W).
        teacher_logits: (B, C, H, W); resize one side before, where resolutions differ.
        temperature: T, positive.
        mask: (B, H, W) bool, True where a position counts; what the others hold, NaN included, has no
            influence. With none True the loss is 0.

    Raises:
        ValueError: for shapes that do not agree, or a temperature that is not positive.
    """
    check_same(student_logits, teacher_logits, ndim=4, axes="(B, C, H, W)")
    if mask is None:
        return kd(student_logits, teacher_logits, temperature=temperature)
    batch, _, height, width = student_logits.shape
    if mask.shape != (batch, height, width) or mask.dtype != torch.bool:
        raise UserError(
            f"mask must be bool of shape {(batch, height, width)}, got {mask.dtype} {tuple(mask.shape)}"
        )
    # Hidden before the softmax, not after: a NaN there would come back through the gradient, as 0 · NaN.
    hidden = ~mask[:, None]
    student, teacher = student_logits.masked_fill(hidden, 0), teacher_logits.masked_fill(hidden, 0)
    return softened_kl(student, teacher, temperature).sum() / mask.sum().clamp(min=1)


@full_precision
def standardize_logits(logits: Tensor) -> Tensor:
    """The z-score of each sample's logits: mean 0 and standard deviation 1 over the classes.

    The student then learns the shape of the teacher's logits and not their size. Sun et al., Logit
    Standardization in Knowledge Distillation, 2024, Eq. 13; the deviation is the unbiased one, as published.
    Logits that are all equal become 0.

    Args:
        logits: (B, C), or (B, C, H, W): at each position.

    Returns:
        The same shape, fp32 or wider.
    """
    centered = logits - logits.mean(dim=1, keepdim=True)
    return math.sqrt(max(logits.shape[1] - 1, 1)) * unit(centered)


def make_kd(
    spec: FeatureSpec,
    *,
    weight: NonNegative | None = None,
    temperature: Positive | None = None,
    standardize: bool = False,
) -> Term:
    """Knowledge distillation (`kd`) of the logits, at each position if the teacher segments.

    Args:
        spec: two networks of the same classes, or a student without logits.
        weight: None for the published one: 0.9 beside a cross-entropy of 0.1; 1 beside other terms and a
            whole cross-entropy; with `standardize` 9, beside other terms too.
        temperature: None for the published one: 4; with `standardize` 2.
        standardize: compare the logits' z-scores (Sun et al., 2024). They are small and bounded: the loss is
            weak at the plain method's temperature and weight, so it has its own.
    """
    projector = select_logits(spec, "kd", dense=True)
    if temperature is None:
        temperature = 2.0 if standardize else 4.0
    return Term(
        projector,
        StatelessLoss(partial(kd, temperature=temperature, standardize=standardize)),
        weight=(9.0 if standardize else 0.9) if weight is None else weight,
        weight_in_sum=1.0 if weight is None and not standardize else None,
        task_weight=0.1,
    )


def softened_kl(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """T² · KL over dim 1, without that dim."""
    check_positive(temperature=temperature)
    log_student = F.log_softmax(student_logits / temperature, dim=1)
    log_teacher = F.log_softmax(teacher_logits / temperature, dim=1)
    return kl(log_student, log_teacher) * temperature**2
