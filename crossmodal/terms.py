"""The transfer terms of the cross-modal pipeline: what each method compares, and with which objective.

They are `distillers.Term`s whose projectors read the teacher's named targets in the place of its `Outputs`:
targets can be computed once and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

from ..contrast import CriticHeads, DenseContrast, InstanceContrast, LocalGlobalContrast
from ..distillers import Contrast, FitNetRegressor, Function, Term, parse_method
from ..distillers import functional as D
from ..models import Outputs
from .config import TransferConfig

Targets = Mapping[str, Tensor]
"""What the teacher says of a batch: `logits`, `map`, `embedding`, and `attention0`, `attention1`, …"""


Shape3 = tuple[int, int, int]
Shape3s = tuple[Shape3, ...]
"""(C, H, W) of each of a network's maps."""


class Shapes(NamedTuple):
    """Sizes the terms are built for, measured by one dry forward."""

    student_maps: Shape3s
    """(C, H, W) of every map of the student."""
    teacher_logits: tuple[int, ...]
    """(classes,) of a classifier, (classes, H, W) of a segmenter."""
    teacher_map: Shape3
    """(C, H, W) of the teacher's dense map."""
    teacher_embedding: int
    teacher_attention: Shape3s
    """(1, H, W) of the teacher's attention maps."""
    num_samples: int
    """Rows of the training set, M."""


class KDProjector(nn.Module):
    """Student logits at the teacher's resolution, from its last map (segmenter) or embedding (classifier)."""

    def __init__(self, shapes: Shapes) -> None:
        super().__init__()
        channels, classes = shapes.student_maps[-1][0], shapes.teacher_logits[0]
        self.dense = len(shapes.teacher_logits) == 3
        self.classify: nn.Module = (
            nn.Conv2d(channels, classes, 1) if self.dense else nn.Linear(channels, classes)
        )

    def forward(self, student: Outputs, targets: Targets) -> tuple[Tensor, ...]:
        logits = self.classify(student.maps[-1] if self.dense else student.embedding)
        if self.dense and logits.shape[-2:] != targets["logits"].shape[-2:]:
            logits = nn.functional.interpolate(
                logits, targets["logits"].shape[-2:], mode="bilinear", align_corners=False
            )
        return logits, targets["logits"]


class ATProjector(nn.Module):
    """Pairs of maps for attention transfer, see `pair_by_resolution`."""

    def __init__(self, shapes: Shapes) -> None:
        super().__init__()
        self.pairs = pair_by_resolution(shapes.student_maps, shapes.teacher_attention)

    def forward(self, student: Outputs, targets: Targets) -> tuple[Tensor, ...]:
        maps = [student.maps[s] for s, _ in self.pairs]
        return *maps, *(targets[f"attention{t}"] for _, t in self.pairs)


def pair_by_resolution(student: Shape3s, teacher: Shape3s) -> list[tuple[int, int]]:
    """(student map, teacher map) pairs: for every resolution that both have above the student's last one
    the first map of each, and the last map of each. Shapes are (C, H, W), stem first.

    Maps of equal depth, as published, would pair a shallow CNN's fine maps with a ResNet's coarse ones.
    """
    rows = [[height for _, height, _ in maps] for maps in (student, teacher)]
    shared = [h for h in dict.fromkeys(rows[0]) if h in rows[1] and h > rows[0][-1]]
    return [(rows[0].index(h), rows[1].index(h)) for h in shared] + [(len(student) - 1, len(teacher) - 1)]


class FitNetProjector(nn.Module):
    """The student's last map, regressed to the teacher's dense map."""

    def __init__(self, shapes: Shapes) -> None:
        super().__init__()
        self.regress = FitNetRegressor(shapes.student_maps[-1], shapes.teacher_map)

    def forward(self, student: Outputs, targets: Targets) -> tuple[Tensor, ...]:
        return self.regress(student.maps[-1]), targets["map"]


class GlobalProjector(nn.Module):
    """Embeddings of both sides in the critic's space: (B, d) each."""

    def __init__(self, shapes: Shapes, embed_dim: int) -> None:
        super().__init__()
        self.heads = CriticHeads(shapes.student_maps[-1][0], shapes.teacher_embedding, embed_dim)

    def forward(self, student: Outputs, targets: Targets) -> tuple[Tensor, ...]:
        return self.heads(student.embedding, targets["embedding"])


class DenseProjector(nn.Module):
    """Maps of both sides in the critic's space on the student's grid: (B, d, H, W) each."""

    def __init__(self, shapes: Shapes, embed_dim: int) -> None:
        super().__init__()
        self.heads = CriticHeads(shapes.student_maps[-1][0], shapes.teacher_map[0], embed_dim)

    def forward(self, student: Outputs, targets: Targets) -> tuple[Tensor, ...]:
        view, target = student.maps[-1], targets["map"]
        if target.shape[-2:] != view.shape[-2:]:
            target = nn.functional.interpolate(target, view.shape[-2:], mode="bilinear", align_corners=False)
        return self.heads(view, target)


class LocalGlobalProjector(nn.Module):
    """Local maps and global vectors of both sides, in the order of `LocalGlobalContrast`."""

    def __init__(self, shapes: Shapes, embed_dim: int) -> None:
        super().__init__()
        self.local = DenseProjector(shapes, embed_dim)
        self.glob = GlobalProjector(shapes, embed_dim)

    def forward(self, student: Outputs, targets: Targets) -> tuple[Tensor, ...]:
        student_map, teacher_map = self.local(student, targets)
        student_global, teacher_global = self.glob(student, targets)
        return student_map, student_global, teacher_map, teacher_global


def _attention(*maps: Tensor) -> Tensor:
    half = len(maps) // 2
    return D.attention(maps[:half], maps[half:])


def _kd(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    loss = D.pixel_kd if student.dim() == 4 else D.kd
    return loss(student, teacher, temperature=temperature)


def _make_kd(shapes: Shapes, config: TransferConfig) -> Term:
    return Term(
        KDProjector(shapes), Function(partial(_kd, temperature=config.kd_temperature)), config.kd_weight
    )


def _make_at(shapes: Shapes, config: TransferConfig) -> Term:
    return Term(ATProjector(shapes), Function(_attention), config.at_weight)


def _make_fitnet(shapes: Shapes, config: TransferConfig) -> Term:
    return Term(FitNetProjector(shapes), Function(D.fitnet), config.fitnet_weight)


def _make_crd(shapes: Shapes, config: TransferConfig) -> Term:
    contrast = InstanceContrast(
        shapes.num_samples,
        config.embed_dim,
        num_negatives=config.num_negatives,
        temperature=config.temperature,
        momentum=config.momentum,
        objective=config.objective,
        negatives=config.negatives,
    )
    return Term(
        GlobalProjector(shapes, config.embed_dim), Contrast(contrast), config.crd_weight, written=(0, 1)
    )


def _make_crd_local(shapes: Shapes, config: TransferConfig) -> Term:
    contrast = LocalGlobalContrast(
        config.embed_dim,
        queue_size=config.global_queue_size,
        temperature=config.temperature,
        objective=config.objective,
    )
    return Term(
        LocalGlobalProjector(shapes, config.embed_dim), Contrast(contrast), config.crd_weight, written=(1, 3)
    )


def _make_crd_dense(shapes: Shapes, config: TransferConfig) -> Term:
    contrast = DenseContrast(
        config.embed_dim,
        queue_size=config.queue_size,
        num_positions=config.num_positions,
        temperature=config.temperature,
        objective=config.objective,
    )
    return Term(
        DenseProjector(shapes, config.embed_dim), Contrast(contrast), config.crd_weight, written=(0, 1)
    )


TERMS: dict[str, Callable[[Shapes, TransferConfig], Term]] = {
    "kd": _make_kd,
    "at": _make_at,
    "fitnet": _make_fitnet,
    "crd": _make_crd,
    "crd-local": _make_crd_local,
    "crd-dense": _make_crd_dense,
}


def build_terms(method: str, shapes: Shapes, config: TransferConfig) -> dict[str, Term]:
    """The terms of a method, with their weights."""
    terms = {}
    for name, factor in parse_method(method, TERMS).items():
        term = TERMS[name](shapes, config)
        terms[name] = replace(term, weight=factor * term.weight)
    return terms
