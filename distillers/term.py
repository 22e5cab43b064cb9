"""What every distiller is made of: a term of the loss, in two halves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..models import Dimensions, Outputs

__all__ = ["Context", "Function", "Pair", "Read", "Term"]


class Pair(NamedTuple):
    """What a term is built for: two networks' sizes and the training set."""

    student: Dimensions
    teacher: Dimensions
    num_samples: int
    """Rows of the training set, M."""
    labels: Tensor | None = None
    """The class of every row, (M,), where there are labels."""
    teacher_classifier: nn.Linear | None = None
    """The teacher's last layer, where it has one: embedding -> logits."""


class Context(NamedTuple):
    """What an objective may know of a batch beside the projected tensors."""

    index: Tensor
    """Rows of the samples, (B,)."""
    label: Tensor | None
    """Classes of the samples, (B,)."""


class Function(nn.Module):
    """A pure function of the projected tensors as an objective without memory."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *projected: Any, context: Context) -> Tensor:
        return self.function(*projected)


class Read(nn.Module):
    """A projector without weights: it takes what the objective compares from both networks' outputs."""

    def __init__(self, read: Callable[[Outputs, Outputs], tuple[Any, ...]]) -> None:
        super().__init__()
        self.read = read

    def forward(self, student: Outputs, teacher: Outputs) -> tuple[Any, ...]:
        return self.read(student, teacher)


@dataclass(frozen=True)
class Term:
    """One transfer objective of a loss.

    The projector holds all weights that train along with the student; it runs inside the module that DDP
    wraps. The objective holds the memory, if there is one, and stays outside.
    """

    projector: nn.Module
    """(student's `Outputs`, teacher's `Outputs`) -> the tensors, or tuples of them, that are compared."""
    objective: nn.Module
    """(*projected, context=Context) -> scalar. All its state is buffers; one with a memory has `update`."""
    weight: float
    """The published weight of the term."""
    task_weight: float = 1.0
    """The published weight of the cross-entropy, where this term stands alone beside it."""
    warmup_epochs: float = 0.0
    """Epochs over which the weight rises linearly from 0."""
    written: tuple[int, ...] = ()
    """Which of the projected tensors go to the memory after the step."""
    initialise: Initialise | None = None
    """A training before the distillation, where the method has one."""
    deploy: Callable[[nn.Module], nn.Module] | None = None
    """student -> the network to test and to keep, where that is more than the student (SimKD)."""

    def loss(self, projected: tuple[Any, ...], context: Context) -> Tensor:
        """The unweighted term, a scalar."""
        result: Tensor = self.objective(*projected, context=context)
        return result

    @torch.no_grad()
    def update(self, projected: tuple[Any, ...], context: Context) -> None:
        """Write the memory, where there is one."""
        if self.written:
            update: Callable[..., None] = self.objective.update  # type: ignore[assignment]
            update(context.index, *(projected[i].detach() for i in self.written))


@dataclass(frozen=True)
class Initialise:
    """The training that comes before the distillation: AB and FSP train the student, FT its paraphraser."""

    projector: nn.Module
    """As a term's. What it shares with the term's own projector is kept."""
    objective: nn.Module
    """As a term's."""
    weight: float = 1.0
    """Of this loss, which stands alone."""
    epochs: int = 30
    """Published length."""
    trains_student: bool = True
    """Whether the student's weights are trained too, or the projector's alone."""
