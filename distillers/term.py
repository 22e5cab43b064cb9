"""What every distiller is made of: a term of the loss, in two halves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from ..common import Ge, UserError
from ..contrast import gather_with_gradient, rows_of_ranks
from ..models import Outputs, freeze
from .spec import BatchMeta


@dataclass(frozen=True)
class Pretraining:
    """Marks the setting of a maker that is the number of pretraining epochs (`Term.pretrain`)."""


PretrainEpochs = Annotated[int, Ge(0), Pretraining()]


class StatelessLoss(nn.Module):
    """A pure function of the projected tensors as an objective without memory.

    Args:
        function: (*projected) -> scalar.
        labels: whether it takes the classes of the samples, too, as the keyword `label`; of mixed samples it
            is called with both (`BatchMeta.of_labels`).
        relational: whether it compares the samples of a batch with one another. It then sees those of all
            ranks, in their order, with gradients.
        constants: how many of the last projected tensors belong to no sample.
    """

    def __init__(
        self,
        function: Callable[..., Tensor],
        *,
        labels: bool = False,
        relational: bool = False,
        constants: int = 0,
    ) -> None:
        super().__init__()
        self.function, self.labels, self.relational = function, labels, relational
        self.constants = constants

    def forward(self, *projected: Any, meta: BatchMeta) -> Tensor:
        if self.relational:
            projected = _of_all_ranks(projected, rows_of_ranks(meta.index))
        if not self.labels:
            return self.function(*projected)
        return meta.of_labels(lambda label: self.function(*projected, label=label))

    def of_each(self, *projected: Any, meta: BatchMeta) -> Tensor:
        """The loss of each sample alone, (B,); that of the batch, (1,), if it compares samples."""
        if self.relational:
            return self(*projected, meta=meta)[None]
        count = len(projected) - self.constants
        constants, how = projected[count:], {}
        if self.labels and meta.label is not None:
            how["label"] = meta.label[:, None]

        def alone(sample: tuple[Any, ...], how: dict[str, Tensor]) -> Tensor:
            return self.function(*tree_map(lambda x: x[None], sample), *constants, **how)

        losses: Tensor = torch.vmap(alone)(projected[:count], how)
        return losses


def loss_of_each(objective: nn.Module, projected: tuple[Any, ...], meta: BatchMeta) -> Tensor:
    """An objective's loss of each sample, (B,), or, of one that has none, that of the batch, (1,)."""
    of_each: Callable[..., Tensor] | None = getattr(objective, "of_each", None)
    return objective(*projected, meta=meta)[None] if of_each is None else of_each(*projected, meta=meta)


def _of_all_ranks(x: Any, rows: Sequence[int]) -> Any:
    """Tensors, and tuples of them, with the rows of all ranks."""
    if isinstance(x, Tensor):
        return gather_with_gradient(x, rows)
    return tuple(_of_all_ranks(each, rows) for each in x)


class MemoryLoss(nn.Module):
    """A contrast with its memory as an objective: it is asked, and written, at the rows of the batch.

    Args:
        contrast: `forward(*tensors, index) -> scalar` and `update(index, *tensors)`; no weights. One without
            a row for every sample of the data set says so: `keeps_samples = False`.
    """

    def __init__(self, contrast: nn.Module) -> None:
        super().__init__()
        self.contrast = contrast
        self.keeps_samples = bool(getattr(contrast, "keeps_samples", True))

    def forward(self, *projected: Tensor, meta: BatchMeta) -> Tensor:
        loss: Tensor = self.contrast(*projected, meta.index)
        return loss

    def update(self, index: Tensor, *projected: Tensor) -> None:
        """Write the batch's vectors into the memory."""
        update: Callable[..., None] = self.contrast.update  # type: ignore[assignment]
        update(index, *projected)


class SelectOutputs(nn.Module):
    """A projector without weights: a part of the student's outputs and the same part of the teacher's.

    Args:
        part: "logits" or "embedding": one tensor of each; or "maps": a tuple of each.
        numbers: of the maps, from the stem at 0.
        teacher: the numbers of the teacher's maps, if they are others.
    """

    def __init__(self, part: str, *numbers: int, teacher: Sequence[int] | None = None) -> None:
        super().__init__()
        self.part, self.numbers = part, numbers
        self.teacher_numbers = numbers if teacher is None else tuple(teacher)
        self.reads = frozenset(f"{part}.{number}" for number in self.teacher_numbers) or frozenset({part})

    def forward(self, student: Outputs, teacher: Outputs) -> tuple[Any, Any]:
        """What the objective compares, student's and teacher's."""
        ours, theirs = getattr(student, self.part), getattr(teacher, self.part)
        if self.part in ("logits", "embedding"):
            return ours, theirs
        return tuple(ours[i] for i in self.numbers), tuple(theirs[i] for i in self.teacher_numbers)


@dataclass(frozen=True)
class Term:
    """One transfer objective of a loss.

    The projector holds all weights that train along with the student; it runs inside the module that DDP
    wraps. The objective holds the memory, if there is one, and stays outside.
    """

    projector: nn.Module
    """(student's `Outputs`, teacher's `Outputs`) -> the tensors, or tuples of them, that are compared. Its
    attribute `reads` names the parts that it reads of the teacher: "logits", "embedding", "maps.3", … Nothing
    else is kept in a cache, or handed to it from one."""
    objective: nn.Module
    """(*projected, meta=BatchMeta) -> scalar. All its state is buffers; one with a memory has `update`."""
    weight: float
    """The published weight of the term, standing alone beside the cross-entropy. A term of weight 0 (a method
    that ends with its pretraining) is not computed, and its projector is not trained."""
    weight_in_sum: float | None = None
    """The published weight beside other terms, if that is another."""
    task_weight: float = 1.0
    """The published weight of the cross-entropy, if this term stands alone beside it."""
    warmup_epochs: float = 0.0
    """Epochs over which the weight rises linearly from 0."""
    memory_inputs: tuple[int, ...] = ()
    """Which of the projected tensors go to the memory after the step."""
    pretrain: PretrainStage | None = None
    """A training before the transfer, if the method has one."""
    deploy: Callable[[nn.Module], nn.Module] | None = None
    """student -> the network to test and to keep, if that is more than the student (SimKD)."""

    def __post_init__(self) -> None:
        for name in ("weight", "weight_in_sum", "task_weight", "warmup_epochs"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise UserError(f"{name} must be finite and not negative, got {value}")

    @property
    def pretrains(self) -> bool:
        """Whether a training comes before the transfer."""
        return self.pretrain is not None

    @property
    def uses_all_layers(self) -> bool:
        """Whether the loss depends on every layer of the student, whose logits it compares: a backward pass
        then leaves no parameter without a gradient."""
        names: Any = self.projector.reads
        parts = [names] if isinstance(names, frozenset) else names
        return any("logits" in part for part in parts)

    def memory_bytes(self, batch_size: int) -> int:
        """Return the bytes of the objective's buffers (memories, queues) and of what it draws for a batch."""
        state = sum(buffer.nbytes for buffer in self.objective.buffers())
        draws = [getattr(part, "draw_bytes", None) for part in self.objective.modules()]
        return state + sum(draw(batch_size) for draw in draws if draw is not None)

    @property
    def keeps_samples(self) -> bool:
        """Whether its memory has a row for every sample of the data set, and so none for a mixed one."""
        keeps = [part.keeps_samples for part in self.objective.modules() if hasattr(part, "keeps_samples")]
        return bool(self.memory_inputs) and (any(keeps) or not keeps)

    def loss(self, projected: tuple[Any, ...], meta: BatchMeta) -> Tensor:
        """The unweighted term, a scalar."""
        result: Tensor = self.objective(*projected, meta=meta)
        return result

    def to_remember(self, projected: tuple[Any, ...]) -> tuple[Tensor, ...]:
        """Of the projected tensors those that go to the memory, detached."""
        return tuple(projected[i].detach() for i in self.memory_inputs)

    @torch.no_grad()
    def update(self, remembered: tuple[Tensor, ...], index: Tensor) -> None:
        """Write the memory at the rows `index`, if there is one, with what `to_remember` picked."""
        if remembered:
            update: Callable[..., None] = self.objective.update  # type: ignore[assignment]
            update(index, *remembered)


@dataclass(frozen=True)
class PretrainStage:
    """The training that comes before the transfer: AB and FSP train the student, FT its paraphraser.

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
    """If it is not the transfer's. It stays constant, as published."""

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise UserError(f"epochs must not be negative, got {self.epochs}")
        if self.lr is not None and not self.lr > 0:
            raise UserError(f"lr must be positive, got {self.lr}")

    def finish(self) -> None:
        """Freezes what trained alone; to be called when this training is over, and on resuming after it."""
        if not self.trains_student:
            training = self.projector.training
            freeze(self.projector).train(training)
