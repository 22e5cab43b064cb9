"""The training before the distillation, as a task of the engine."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..data import Batch
from ..distillers import Context, Initialize
from ..engine import Task, TaughtViews, TransferModule


class PretrainTask(Task):
    """What comes before the distillation, where a method has it: its loss alone.

    Args:
        student: returns `Outputs`; trained too where the method says so.
        stage: the method's `Initialize`.
        views: as for the distillation.
    """

    def __init__(self, student: nn.Module, stage: Initialize, views: TaughtViews) -> None:
        self.stage = stage
        self.views = views
        self.frozen = () if views.teacher is None else (views.teacher,)
        self.module = stage.projector
        if stage.trains_student:
            self.module = TransferModule(student, {"initialize": stage.projector})
        self.weights = {"initialize": 1.0}

    def terms(self, module: nn.Module, batch: Batch) -> tuple[dict[str, Tensor], Any]:
        images, targets = self.views(batch)
        if self.stage.trains_student:
            projected = module(images, targets)[1]["initialize"]
        else:
            projected = module(None, targets)
        context = Context(batch["index"], batch["label"])
        return {"initialize": self.stage.loss(projected, context)}, None
