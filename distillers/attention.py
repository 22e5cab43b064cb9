"""Attention transfer: where a network looks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .shapes import stage_maps
from .tensors import check_maps, full_precision, same_size, unit
from .term import Function, Pair, Read, Term

__all__ = ["attention", "attention_map", "make_at"]


@full_precision
def attention(student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor]) -> Tensor:
    """Attention transfer: the difference of where two networks look, summed over pairs of maps.

    L = Σ_i mean (a(s_i) − a(t_i))², with a the `attention_map`. Zagoruyko & Komodakis, Paying More Attention
    to Attention, 2017. Of two maps of different H or W the larger is average-pooled to the smaller, along
    each axis, before it is squared; channels may differ.

    Args:
        student_maps: each (B, C_i, H_i, W_i).
        teacher_maps: as many, paired in order, each (B, C'_i, H'_i, W'_i).

    Raises:
        ValueError: for no maps, different counts, different batches or maps of other than four axes.
    """
    check_maps(student_maps, teacher_maps)
    pairs = (same_size(s, t) for s, t in zip(student_maps, teacher_maps, strict=True))
    return torch.stack([F.mse_loss(attention_map(s), attention_map(t)) for s, t in pairs]).sum()


@full_precision
def attention_map(feature_map: Tensor) -> Tensor:
    """The mean of squares over the channels at each position, of unit length per image: (B, H·W).

    Args:
        feature_map: (B, C, H, W).
    """
    return unit(feature_map.square().mean(1).flatten(1))


def make_at(pair: Pair, *, weight: float = 1000.0) -> Term:
    """Attention transfer (`attention`) of the maps beyond the stem."""
    stop = 1 + len(stage_maps(pair, "at"))
    return Term(
        Read(lambda student, teacher: (student.maps[1:stop], teacher.maps[1:stop])),
        Function(attention),
        weight=weight,
    )
