"""What every distiller is made of: a term of the loss, in two halves."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..models import Dimensions, Outputs

__all__ = ["Context", "Contrast", "Function", "Initialize", "Pair", "Read", "Term"]


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


@dataclass(frozen=True)
class Context:
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


class Contrast(nn.Module):
    """A contrast with its memory as an objective: it is asked, and written, at the rows of the batch.

    Args:
        contrast: `forward(*tensors, index) -> scalar` and `update(index, *tensors)`; no weights.
    """

    def __init__(self, contrast: nn.Module) -> None:
        super().__init__()
        self.contrast = contrast

    def forward(self, *projected: Tensor, context: Context) -> Tensor:
        loss: Tensor = self.contrast(*projected, context.index)
        return loss

    def update(self, index: Tensor, *projected: Tensor) -> None:
        """Write the batch's vectors into the memory."""
        update: Callable[..., None] = self.contrast.update  # type: ignore[assignment]
        update(index, *projected)


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
    """The published weight of the term, where it stands alone beside the cross-entropy. A term of weight 0
    (a method that ends with its initialization) is not computed, and its projector is not trained."""
    weight_in_sum: float | None = None
    """The published weight beside other terms, where that is another."""
    task_weight: float = 1.0
    """The published weight of the cross-entropy, where this term stands alone beside it."""
    warmup_epochs: float = 0.0
    """Epochs over which the weight rises linearly from 0."""
    written: tuple[int, ...] = ()
    """Which of the projected tensors go to the memory after the step."""
    initialize: Initialize | None = None
    """A training before the distillation, where the method has one."""
    deploy: Callable[[nn.Module], nn.Module] | None = None
    """student -> the network to test and to keep, where that is more than the student (SimKD)."""

    def __post_init__(self) -> None:
        for name in ("weight", "weight_in_sum", "task_weight", "warmup_epochs"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and not negative, got {value}")

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
class Initialize:
    """The training that comes before the distillation: AB and FSP train the student, FT its paraphraser.

    The student's classifier takes no part: no gradient reaches it.
    """

    projector: nn.Module
    """As a term's. What it shares with the term's own projector is kept."""
    objective: nn.Module
    """As a term's. Its loss stands alone, unweighted."""
    epochs: int = 30
    """Published length."""
    trains_student: bool = True
    """Whether the student's weights are trained too. Else the projector's alone, which reads the teacher
    only and is frozen afterwards."""
    lr: float | None = None
    """Where it is not the distillation's. It stays constant, as published."""

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise ValueError(f"epochs must not be negative, got {self.epochs}")
        if self.lr is not None and not self.lr > 0:
            raise ValueError(f"lr must be positive, got {self.lr}")

    def loss(self, projected: tuple[Any, ...], context: Context) -> Tensor:
        """The loss of this training, a scalar."""
        result: Tensor = self.objective(*projected, context=context)
        return result

    def finish(self) -> None:
        """Freezes what trained alone; to be called when this training is over, and on resuming after it."""
        if not self.trains_student:
            self.projector.requires_grad_(False)
            # An optimizer steps on a gradient that is left over, whatever `requires_grad` says.
            self.projector.zero_grad(set_to_none=True)
