"""Attention transfer: where a network looks."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..common import NonNegative
from ..models import Outputs
from .ops import check_maps, full_precision, same_size, unit
from .spec import FeatureSpec, Shape, stage_maps
from .term import SelectOutputs, StatelessLoss, Term


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


def make_at(
    spec: FeatureSpec, *, weight: NonNegative = 1000.0, pairing: Literal["depth", "resolution"] = "depth"
) -> Term:
    """Attention transfer (`attention`) of the maps beyond the stem.

    Args:
        spec: two networks with maps.
        weight: published.
        pairing: "depth", as published: maps of the same number; or "resolution" (`pair_by_resolution`).
    """
    numbers = [(i, i) for i in range(1, 1 + len(stage_maps(spec, "at")))]
    select = SelectOutputs
    if pairing == "resolution":
        numbers, select = pair_by_resolution(spec.student.maps, spec.teacher.maps), _SquareTeacherFirst
    ours, theirs = zip(*numbers, strict=True)
    return Term(select("maps", *ours, teacher=theirs), StatelessLoss(attention), weight=weight)


class _SquareTeacherFirst(SelectOutputs):
    """The teacher's maps as the root mean square of their channels (B, 1, H, W): where they are pooled to the
    last map of a shallow student, it is attention that is averaged, not features that cancel out."""

    def forward(self, student: Outputs, teacher: Outputs) -> tuple[Any, Any]:
        ours, theirs = super().forward(student, teacher)
        return ours, tuple(x.float().square().mean(1, keepdim=True).sqrt() for x in theirs)


def pair_by_resolution(student: Sequence[Shape], teacher: Sequence[Shape]) -> list[tuple[int, int]]:
    """(student map, teacher map) pairs: for every resolution that both have above the student's last one the
    first map of each, and the last map of each; the teacher's stem is left out.

    Maps of equal depth, as published, would pair a shallow CNN's fine maps with a ResNet's coarse ones.

    Args:
        student, teacher: (C, H, W) of every map, stem first.
    """
    ours, theirs = ([height for _, height, _ in maps] for maps in (student, teacher))
    shared = [h for h in dict.fromkeys(ours) if h in theirs[1:] and h > ours[-1]]
    return [(ours.index(h), theirs.index(h, 1)) for h in shared] + [(len(ours) - 1, len(theirs) - 1)]
