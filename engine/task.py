"""What is trained: a module, its terms and their weights."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .average import WeightAverage
from .errors import NotKeptError, TaskError

RESERVED = ("epoch", "step", "lr", "loss")


class Task(ABC):
    """One thing to train. A pipeline subclasses it and sets the attributes in its constructor.

    Attributes:
        module: every trainable weight. The engine prepares it (device, mixed precision, DDP), so all of
            its work has to be in `forward`: DDP synchronizes gradients nowhere else.
        memory: buffers that must not be inside the wrapped module (banks, queues), or None. Moved to the
            device, saved in checkpoints, the same on every process, written by `update` only. What one rank
            of W alone holds has in the state dict a name that ends in `_of_rank_R_of_W`.
        frozen: teachers. Moved to the device, in eval mode, without gradients, not saved; the engine
            verifies that their bits are the same after training.
        weights: the weight of each term in the loss.
        may_leave_unused: whether a step may leave trainable parameters without a gradient; with several
            processes, DDP then searches for them in every step.
        average: the moving average of the module's weights, or None. Updated after every step, evaluated
            beside the last weights, saved in checkpoints and with the results.
    """

    module: nn.Module
    memory: nn.Module | None = None
    frozen: tuple[nn.Module, ...] = ()
    weights: dict[str, float]
    may_leave_unused: bool = False
    average: WeightAverage | None = None

    @abstractmethod
    def terms(self, module: nn.Module, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], Any]:
        """Forward one batch.

        Args:
            module: the prepared `self.module`; call this one.
            batch: tensors on the device, each (B, ...).

        Returns:
            The named terms, each a scalar and a mean over the batch, the same names at every step; and
            whatever `update` needs.
        """

    def weights_at(self, epoch: int) -> dict[str, float]:
        """The weight of each term in an epoch, from 0; `weights` unless a task raises them gradually."""
        return self.weights

    def update(self, batch: dict[str, Tensor], extra: Any) -> None:  # noqa: B027 - optional for a task
        """Write the memory. Called without gradients after the optimizer's step, once for each batch.

        Args:
            batch: what each sample has one value of, (B,), such as "index" and "label". Its images are no
                longer held: with `accumulate`, a step has several batches.
            extra: of `terms`.
        """

    def restore(self, folder: Path, kept: Mapping[str, Any]) -> None:
        """Load what a finished training left in the place of its weights, from beside its folder.

        Args:
            folder: of the training.
            kept: what `drop_weights` wrote down.

        Raises:
            NotKeptError: there is nothing; as here, unless a task says where to look.
            CheckpointError: it is not what was left.
        """
        raise NotKeptError(f"the weights of {folder} were not kept")


def check_task(task: Task) -> None:
    """Raise `TaskError` where training could not work, before anything is computed."""
    weights = getattr(task, "weights", None)
    if not isinstance(getattr(task, "module", None), nn.Module) or not isinstance(weights, dict):
        raise TaskError(f"{type(task).__name__} must set `module` (nn.Module) and `weights` (dict)")
    if reserved := sorted(set(weights) & set(RESERVED)):
        raise TaskError(f"a term may not be called {reserved[0]!r}: the history uses that name")
    trainable = {id(p): name for name, p in task.module.named_parameters() if p.requires_grad}
    if not trainable:
        raise TaskError(f"{type(task).__name__}.module has no parameter that requires a gradient")
    for number, network in enumerate(task.frozen):
        for name, parameter in network.named_parameters():
            if id(parameter) in trainable:
                raise TaskError(f"frozen[{number}].{name} is also a trainable parameter of the module")
    if task.average is not None and task.average.module is not task.module:
        raise TaskError("the average must be of the task's module, which is another one")
    if task.memory is not None:
        for name, parameter in task.memory.named_parameters():
            if parameter.requires_grad:
                raise TaskError(f"memory.{name} requires a gradient; what is trained belongs into the module")


def require_gradients(task: Task) -> None:
    """Raise `TaskError` if a parameter has no gradient after the first step's backward pass.

    DDP would wait for it in the second step.
    """
    for name, parameter in () if task.may_leave_unused else task.module.named_parameters():
        if parameter.requires_grad and parameter.grad is None:
            raise TaskError(
                f"module.{name} received no gradient: set {type(task).__name__}.may_leave_unused = True, or "
                "requires_grad=False of the parameter"
            )


def weighted_sum(terms: dict[str, Tensor], weights: dict[str, float]) -> Tensor:
    """The loss, a scalar: the sum of weight x term. `TaskError` for one without weight or no scalar."""
    if not terms:
        raise TaskError("the task returned no term")
    for name, term in terms.items():
        if name not in weights:
            raise TaskError(f"the term {name!r} has no weight; weights are given for {sorted(weights)}")
        if not isinstance(term, Tensor) or term.ndim != 0:
            shape = tuple(term.shape) if isinstance(term, Tensor) else type(term).__name__
            raise TaskError(f"the term {name!r} must be a scalar tensor, got {shape}")
    return torch.stack([weights[name] * term.float() for name, term in terms.items()]).sum()
