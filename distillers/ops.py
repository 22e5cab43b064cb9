"""What the pure functions share: full precision, unit length, one size for two maps, and checks of shapes."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec

import torch
import torch.nn.functional as F
from torch import Tensor

from ..common import UserError

P = ParamSpec("P")

#: Below this length a vector has no direction; it stays as it is, and so does its gradient.
_TINY = 1e-12


def full_precision(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """A function of tensors that computes with autocast off and half precision widened to fp32.

    Squares, products of whole maps and exponentials leave the range of half precision.
    """

    @wraps(function)
    def widened(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        device = next((x.device.type for x in _tensors((args, tuple(kwargs.values())))), "cpu")
        with torch.autocast(device, enabled=False):
            wide_kwargs: Any = {name: _wide(value) for name, value in kwargs.items()}
            return function(*_wide(args), **wide_kwargs)

    return widened


def _wide(x: Any) -> Any:
    if isinstance(x, Tensor):
        return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    return tuple(_wide(item) for item in x) if isinstance(x, list | tuple) else x


def _tensors(x: Any) -> list[Tensor]:
    if isinstance(x, Tensor):
        return [x]
    return [tensor for item in x for tensor in _tensors(item)] if isinstance(x, list | tuple) else []


def unit(x: Tensor, dim: int = 1) -> Tensor:
    """x / ‖x‖ along `dim`. A zero vector stays zero and gets a finite gradient.

    `F.normalize` divides by an eps there, and so multiplies the gradient of a zero vector by 10^12.
    """
    norm = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    return x / norm.masked_fill(norm < _TINY, 1.0)


def kl(log_student: Tensor, log_teacher: Tensor) -> Tensor:
    """KL(teacher ‖ student) over dim 1 of log-probabilities, without that dim."""
    return (log_teacher.exp() * (log_teacher - log_student)).sum(1)  # vmap has no rule for F.kl_div


def same_size(student_map: Tensor, teacher_map: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps at the smaller size, along each axis: the larger is average-pooled.

    Args:
        student_map: (B, C, H, W).
        teacher_map: (B, C', H', W').
    """
    (hs, ws), (ht, wt) = student_map.shape[2:], teacher_map.shape[2:]
    size = (min(hs, ht), min(ws, wt))
    return pooled(student_map, size), pooled(teacher_map, size)


def pooled(x: Tensor, size: tuple[int, int]) -> Tensor:
    """The map (B, C, H, W) average-pooled to `size`; itself where it has that size."""
    return x if tuple(x.shape[2:]) == size else F.adaptive_avg_pool2d(x, size)


def check_same(student: Tensor, teacher: Tensor, *, ndim: int, axes: str) -> None:
    """Raise where two tensors are not of one shape with `ndim` axes."""
    if student.ndim != ndim or student.shape != teacher.shape:
        raise UserError(
            f"student and teacher must have the same shape {axes}, got {tuple(student.shape)} and "
            f"{tuple(teacher.shape)}"
        )


def check_logits(student: Tensor, teacher: Tensor) -> None:
    """Raise if two logits are not of one shape, (B, C) or (B, C, H, W)."""
    check_same(student, teacher, ndim=4 if student.ndim == 4 else 2, axes="(B, C) or (B, C, H, W)")


def labels_at(label: Tensor, logits: Tensor) -> Tensor:
    """Label maps (B, H, W) at the size of logits (B, C, h, w), the nearest pixel's; (B,) as they are."""
    if label.ndim == 3 and label.shape[1:] != logits.shape[-2:]:
        rows, columns = (
            (2 * torch.arange(size, device=label.device) + 1) * before // (2 * size)
            for size, before in zip(logits.shape[-2:], label.shape[1:], strict=True)
        )
        return label[:, rows][:, :, columns].long()
    return label


def check_batch(student: Tensor, teacher: Tensor, *, ndim: int, axes: str) -> None:
    """Raise where two tensors do not have `ndim` axes and one batch size."""
    if student.ndim != ndim or teacher.ndim != ndim or len(student) != len(teacher):
        raise UserError(
            f"student and teacher must be {axes} with the same B, got {tuple(student.shape)} and "
            f"{tuple(teacher.shape)}"
        )


def check_maps(student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor], *, least: int = 1) -> None:
    """Raise where two sequences of maps do not pair up, each pair (B, C, H, W) with the same B."""
    for side, maps in (("student_maps", student_maps), ("teacher_maps", teacher_maps)):
        if isinstance(maps, Tensor):
            raise UserError(f"{side} must be a sequence of maps, got one tensor {tuple(maps.shape)}")
    if len(student_maps) != len(teacher_maps) or len(student_maps) < least:
        raise UserError(
            f"student_maps and teacher_maps must pair up, at least {'one pair' if least == 1 else least}, "
            f"got {len(student_maps)} and {len(teacher_maps)}"
        )
    for student, teacher in zip(student_maps, teacher_maps, strict=True):
        if student.ndim != 4 or teacher.ndim != 4 or len(student) != len(teacher):
            raise UserError(
                "maps must be (B, C, H, W) with the same B, got "
                f"{tuple(student.shape)} and {tuple(teacher.shape)}"
            )
