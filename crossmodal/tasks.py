"""The three trainings of the cross-modal pipeline, as tasks of the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data import IGNORE, Batch
from ..engine import Task
from .terms import Targets, Term


class SegmentTask(Task):
    """A segmenter on one view: the teacher's training on RGB and the student's on depth.

    Args:
        segmenter: (B, C, H, W) -> `Outputs` with logits (B, classes, h, w).
        augment: batch -> batch, the same geometry for view and label.
        view: the name of the view it sees.
    """

    def __init__(self, segmenter: nn.Module, augment: nn.Module, view: str) -> None:
        self.module = segmenter
        self.augment = augment
        self.view = view
        self.weights = {"task": 1.0}

    def terms(self, module: nn.Module, batch: Batch) -> tuple[dict[str, Tensor], Any]:
        with torch.autocast(batch[self.view].device.type, enabled=False):
            batch = self.augment(batch)
        logits = module(batch[self.view]).logits.float()
        if logits.shape[-2:] != batch["label"].shape[-2:]:
            logits = F.interpolate(logits, batch["label"].shape[-2:], mode="bilinear", align_corners=False)
        total = F.cross_entropy(logits, batch["label"], ignore_index=IGNORE, reduction="sum")
        # A crop without any labelled pixel counts as zero loss, not as 0/0.
        return {"task": total / (batch["label"] != IGNORE).sum().clamp_min(1)}, None


class TransferModule(nn.Module):
    """The student and the projectors of its terms: all that trains in the transfer."""

    def __init__(self, student: nn.Module, projectors: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.student = student
        self.projectors = nn.ModuleDict(projectors)

    def forward(self, view: Tensor, targets: Targets) -> dict[str, tuple[Tensor, ...]]:
        outputs = self.student(view)
        return {name: project(outputs, targets) for name, project in self.projectors.items()}


class TransferTask(Task):
    """The one transfer step: targets without gradients, outputs, terms; the memory is written last.

    Args:
        student: the encoder, returning `Outputs`.
        terms: the method's terms by name.
        views: batch -> (student's view, targets).
        jitter: batch -> batch, what disturbs the student's view alone.
        view: the name of the student's view.
        teacher: the frozen network, where `views` runs it; kept from training.
    """

    def __init__(
        self,
        student: nn.Module,
        terms: Mapping[str, Term],
        views: nn.Module,
        jitter: nn.Module,
        view: str,
        teacher: nn.Module | None = None,
    ) -> None:
        self.student = student
        self.parts = dict(terms)
        self.views = views
        self.jitter = jitter
        self.view = view
        self.module = TransferModule(student, {name: term.projector for name, term in terms.items()})
        self.memory = nn.ModuleDict({name: term.objective for name, term in terms.items()})
        self.frozen = () if teacher is None else (teacher,)
        self.weights = {name: term.weight for name, term in terms.items()}

    def terms(self, module: nn.Module, batch: Batch) -> tuple[dict[str, Tensor], Any]:
        view, targets = self.views(batch)
        view = self.jitter({self.view: view})[self.view]
        projected = module(view, targets)
        return {
            name: term.loss(projected[name], batch["index"]) for name, term in self.parts.items()
        }, projected

    def update(self, batch: Batch, extra: Any) -> None:
        for name, term in self.parts.items():
            term.update(extra[name], batch["index"])
