"""The transfer objectives without weights, as pure functions.

Each returns a scalar. No gradient is stopped inside: hand in a teacher's tensors without a graph.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["attention", "fitnet", "kd", "pixel_kd"]


def kd(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float = 4.0) -> Tensor:
    """Knowledge distillation: KL(teacher || student) of softened predictions.

    L = T² · mean_b Σ_c p_t log(p_t / p_s), with p = softmax(logits / T); T² keeps the size of the gradient
    independent of the temperature. Hinton et al., Distilling the Knowledge in a Neural Network, 2015.

    Args:
        student_logits: (B, C).
        teacher_logits: (B, C).
        temperature: T, positive.

    Raises:
        ValueError: for shapes that are not the same (B, C), or a temperature that is not positive.
    """
    _check_shapes(student_logits, teacher_logits, ndim=2, axes="(B, C)")
    return _softened_kl(student_logits, teacher_logits, temperature).mean()


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
    _check_shapes(student_logits, teacher_logits, ndim=4, axes="(B, C, H, W)")
    if mask is None:
        return _softened_kl(student_logits, teacher_logits, temperature).mean()
    batch, _, height, width = student_logits.shape
    if mask.shape != (batch, height, width) or mask.dtype != torch.bool:
        raise ValueError(
            f"mask must be bool of shape {(batch, height, width)}, got {mask.dtype} {tuple(mask.shape)}"
        )
    # Hidden before the softmax, not after: a NaN there would come back through the gradient, as 0 · NaN.
    hidden = ~mask[:, None]
    student, teacher = student_logits.masked_fill(hidden, 0), teacher_logits.masked_fill(hidden, 0)
    return _softened_kl(student, teacher, temperature).sum() / mask.sum().clamp(min=1)


def fitnet(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    """Hints: the mean squared difference of two maps.

    Romero et al., FitNets: Hints for Thin Deep Nets, 2015. Maps of different shapes go through
    `FitNetRegressor` first.

    Args:
        student_map: (B, C, H, W), already regressed to the teacher's shape.
        teacher_map: (B, C, H, W).

    Raises:
        ValueError: for different shapes.
    """
    _check_shapes(student_map, teacher_map, ndim=4, axes="(B, C, H, W)")
    return F.mse_loss(_full(student_map), _full(teacher_map))


def attention(student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor]) -> Tensor:
    """Attention transfer: the difference of where two networks look, summed over pairs of maps.

    L = Σ_i mean (a(s_i) − a(t_i))², with a(x) the mean of x² over channels, flattened and L2-normalised per
    image. Zagoruyko & Komodakis, Paying More Attention to Attention, 2017. Of two maps of different H or W
    the larger is average-pooled to the smaller, along each axis, before it is squared; channels may differ.

    Args:
        student_maps: each (B, C_i, H_i, W_i).
        teacher_maps: as many, paired in order, each (B, C'_i, H'_i, W'_i).

    Raises:
        ValueError: for no maps, different counts, different batches or maps of other than four axes.
    """
    for side, maps in (("student_maps", student_maps), ("teacher_maps", teacher_maps)):
        if isinstance(maps, Tensor):
            raise ValueError(f"{side} must be a sequence of maps, got one tensor {tuple(maps.shape)}")
    if len(student_maps) != len(teacher_maps) or not student_maps:
        raise ValueError(
            "student_maps and teacher_maps must pair up, at least one pair, got "
            f"{len(student_maps)} and {len(teacher_maps)}"
        )
    return torch.stack([_attention_pair(s, t) for s, t in zip(student_maps, teacher_maps, strict=True)]).sum()


def _attention_pair(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    if student_map.ndim != 4 or teacher_map.ndim != 4 or len(student_map) != len(teacher_map):
        raise ValueError(
            "maps must be (B, C, H, W) with the same B, got "
            f"{tuple(student_map.shape)} and {tuple(teacher_map.shape)}"
        )
    (hs, ws), (ht, wt) = student_map.shape[2:], teacher_map.shape[2:]
    size = (min(hs, ht), min(ws, wt))
    return F.mse_loss(_attention_map(student_map, size), _attention_map(teacher_map, size))


def _attention_map(feature_map: Tensor, size: tuple[int, int]) -> Tensor:
    feature_map = _full(feature_map)
    if tuple(feature_map.shape[2:]) != size:
        feature_map = F.adaptive_avg_pool2d(feature_map, size)
    return F.normalize(feature_map.square().mean(1).flatten(1), dim=1)


def _softened_kl(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """T² · KL over dim 1, without that dim."""
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    log_student = F.log_softmax(_full(student_logits) / temperature, dim=1)
    log_teacher = F.log_softmax(_full(teacher_logits) / temperature, dim=1)
    return F.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(1) * temperature**2


def _full(x: Tensor) -> Tensor:
    # Squares and exponentials leave the range of half precision.
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _check_shapes(student: Tensor, teacher: Tensor, *, ndim: int, axes: str) -> None:
    if student.ndim != ndim or student.shape != teacher.shape:
        raise ValueError(
            f"student and teacher must have the same shape {axes}, got {tuple(student.shape)} and "
            f"{tuple(teacher.shape)}"
        )
