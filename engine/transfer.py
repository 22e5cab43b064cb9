"""The one transfer step, which compression, ensembles and cross-modal transfer share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ..distillers import Context, Term
from ..models import Outputs
from .task import Task


class TransferModule(nn.Module):
    """The student and the projectors of its terms: all that trains in a transfer.

    Returns the student's logits and, for each term, the tensors that its objective compares: no more, as
    accelerate copies what a module returns into fp32.
    """

    def __init__(self, student: nn.Module, projectors: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.student = student
        self.projectors = nn.ModuleDict(projectors)

    def forward(self, modality: Tensor, targets: Any) -> tuple[Tensor | None, dict[str, tuple[Any, ...]]]:
        outputs: Outputs = self.student(modality)
        return outputs.logits, {name: project(outputs, targets) for name, project in self.projectors.items()}


class TransferTask(Task):
    """Targets without gradients, outputs, terms; the memory is written last.

    Args:
        student: the network that learns, returning `Outputs`.
        terms: the method's terms by name.
        modalities: batch -> (student's modality, targets), no gradients; what the targets are is between it
            and the terms' projectors.
        task_weight: of the cross-entropy with the batch's labels, the term `task`; None for a transfer that
            sees no label.
        frozen: the teachers, where `modalities` runs them; kept from training.
    """

    def __init__(
        self,
        student: nn.Module,
        terms: Mapping[str, Term],
        modalities: nn.Module,
        *,
        task_weight: float | None = None,
        frozen: tuple[nn.Module, ...] = (),
    ) -> None:
        self.student = student
        self.parts = dict(terms)
        self.views = modalities
        self.task_weight = task_weight
        self.module = TransferModule(student, {name: term.projector for name, term in terms.items()})
        self.memory = nn.ModuleDict({name: term.objective for name, term in terms.items()})
        self.frozen = frozen
        self.weights = {name: term.weight for name, term in terms.items()}
        if task_weight is not None:
            self.weights = {"task": task_weight, **self.weights}

    def weights_at(self, epoch: int) -> dict[str, float]:
        """A term with a warm-up has weight·(epoch + 1)/warm-up until it is over, as published."""
        weights = dict(self.weights)
        for name, term in self.parts.items():
            if epoch + 1 < term.warmup_epochs:
                weights[name] *= (epoch + 1) / term.warmup_epochs
        return weights

    def terms(self, module: nn.Module, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], Any]:
        modality, targets = self.views(batch)
        logits, projected = module(modality, targets)
        context = Context(batch["index"], batch.get("label"))
        terms = {name: term.loss(projected[name], context) for name, term in self.parts.items()}
        if self.task_weight is not None:
            terms = {"task": F.cross_entropy(logits.float(), batch["label"]), **terms}
        return terms, projected

    def update(self, batch: dict[str, Tensor], extra: Any) -> None:
        context = Context(batch["index"], batch.get("label"))
        for name, term in self.parts.items():
            term.update(extra[name], context)
