"""A training of a run, built: the networks and the data that the training loop needs."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from ...engine import Evaluate, OptimizerFactory, Schedule, Task, TrainConfig

History = list[dict[str, Any]]
"""One row of figures for each epoch."""


def _nothing(history: History) -> None:
    """For a stage that hands nothing on."""


@dataclass(frozen=True)
class Stage:
    """What `StageRunner.train` needs for one training, besides its name and seed."""

    task: Task
    """What is trained, and its loss."""
    dataset: Any
    """Samples of the training."""
    fingerprint: Mapping[str, Any] = field(default_factory=dict)
    """JSON values that the result depends on, besides the settings of the training and the run's data."""
    evaluate: Evaluate | None = None
    """Computes the metrics of the history; None for no evaluation."""
    train_config: TrainConfig | None = None
    """Settings that depend on the networks; None for those of the `Training`."""
    optimizer: OptimizerFactory | None = None
    """Makes the optimizer; None for the configured one."""
    schedule: Schedule | None = None
    """Factor of the learning rate; None for the configured schedule."""
    context: Callable[[], AbstractContextManager[Any]] = nullcontext
    """Context of the training, such as parameters that take no gradient."""
    finish: Callable[[History], None] = _nothing
    """Called with the history when the stage is trained or loaded; hands its networks on."""
