"""The trainings of a compression run, as tasks of the engine and parts of them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data import Batch
from ..distillers import Context, Initialise
from ..engine import Task, TransferModule
from ..models import Outputs


class ClassifyTask(Task):
    """Cross-entropy with the labels: the training of a teacher.

    Args:
        network: (B, 3, H, W) in [0, 1] -> `Outputs` with logits (B, C).
        augment: batch -> batch.
        label_smoothing: share of the target spread over all classes.
    """

    def __init__(self, network: nn.Module, augment: nn.Module, *, label_smoothing: float = 0.0) -> None:
        self.module = network
        self.augment = augment
        self.label_smoothing = label_smoothing
        self.weights = {"task": 1.0}

    def terms(self, module: nn.Module, batch: Batch) -> tuple[dict[str, Tensor], Any]:
        logits = module(augmented(batch, self.augment)).logits.float()
        return {"task": F.cross_entropy(logits, batch["label"], label_smoothing=self.label_smoothing)}, None


class TaughtViews(nn.Module):
    """Augments a batch and lets the teacher see what the student sees.

    Args:
        augment: batch -> batch.
        teacher: frozen, returning `Outputs`; None where nobody asks for it.
    """

    def __init__(self, augment: nn.Module, teacher: nn.Module | None) -> None:
        super().__init__()
        self.augment = augment
        self.teacher = teacher

    @torch.no_grad()
    def forward(self, batch: Batch) -> tuple[Tensor, Outputs | None]:
        images = augmented(batch, self.augment)
        return images, None if self.teacher is None else self.teacher(images)


class InitialiseTask(Task):
    """What comes before the distillation, where a method has it: its loss alone.

    Args:
        student: returns `Outputs`; trained too where the method says so.
        stage: the method's `Initialise`.
        views: as for the distillation.
    """

    def __init__(self, student: nn.Module, stage: Initialise, views: TaughtViews) -> None:
        self.stage = stage
        self.views = views
        self.frozen = () if views.teacher is None else (views.teacher,)
        self.module = stage.projector
        if stage.trains_student:
            self.module = TransferModule(student, {"initialise": stage.projector})
        self.weights = {"initialise": 1.0}

    def terms(self, module: nn.Module, batch: Batch) -> tuple[dict[str, Tensor], Any]:
        images, targets = self.views(batch)
        if self.stage.trains_student:
            projected = module(images, targets)[1]["initialise"]
        else:
            projected = module(None, targets)
        context = Context(batch["index"], batch["label"])
        return {"initialise": self.stage.loss(projected, context)}, None


def augmented(batch: Batch, augment: nn.Module) -> Tensor:
    """The batch's images after `augment`, (B, C, H, W), in fp32: bf16 coordinates would move pixels about."""
    with torch.autocast(batch["rgb"].device.type, enabled=False):
        images: Tensor = augment(batch)["rgb"]
    return images
