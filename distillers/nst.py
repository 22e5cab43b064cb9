"""Neuron selectivity transfer: the distribution of the channels' patterns."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..common import NonNegative
from .ops import check_maps, full_precision, same_size, unit
from .spec import FeatureSpec, stage_maps
from .term import SelectOutputs, StatelessLoss, Term


@full_precision
def nst(student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor]) -> Tensor:
    """Neuron selectivity transfer: the maximum mean discrepancy of two networks' channels, summed over maps.

    A channel is a point, its map flattened and of unit length; with k(x, y) = (x·y)² and means over all pairs
    of channels and over the batch, L = Σ_i mean k(t, t) + mean k(s, s) − 2 mean k(s, t). Huang & Wang, Like
    What You Like: Knowledge Distill via Neuron Selectivity Transfer, 2017. Of two maps of different H or W
    the larger is average-pooled to the smaller, along each axis; channels may differ.

    Args:
        student_maps: each (B, C_i, H_i, W_i).
        teacher_maps: as many, paired in order, each (B, C'_i, H'_i, W'_i).

    Raises:
        ValueError: for no maps, different counts, different batches or maps of other than four axes.
    """
    check_maps(student_maps, teacher_maps)
    return torch.stack([_discrepancy(s, t) for s, t in zip(student_maps, teacher_maps, strict=True)]).sum()


def _discrepancy(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    student, teacher = (unit(x.flatten(2), dim=2) for x in same_size(student_map, teacher_map))
    return _kernel(teacher, teacher) + _kernel(student, student) - 2 * _kernel(student, teacher)


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    """The mean of (a_i · b_j)² over all channels i, j and the batch, from (B, C, N) and (B, C', N)."""
    batch, channels_a, places = a.shape
    channels_b = b.shape[1]
    if channels_a * channels_b <= places**2:
        total = (a @ b.mT).square().sum()
    else:  # Σ_ij (a_i·b_j)² is also the product of both sides' Gram matrices of the places
        total = ((a.mT @ a) * (b.mT @ b)).sum()
    return total / (batch * channels_a * channels_b)


def make_nst(spec: FeatureSpec, *, weight: NonNegative = 50.0) -> Term:
    """Neuron selectivity transfer (`nst`) of the maps beyond the stem."""
    stop = 1 + len(stage_maps(spec, "nst"))
    return Term(SelectOutputs("maps", *range(1, stop)), StatelessLoss(nst), weight=weight)
