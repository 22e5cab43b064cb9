"""What a run has ahead: every kind of training with its steps, and what it costs, measured on a few steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil
import torch
from torch import Tensor

from ...common import time_calls
from ...data import read_rows
from ...engine import Accelerator, seeded
from ...models import take_parts
from ...transfer import Inputs, PretrainTask, TransferConfig, TransferTask, as_kept
from ..program import Training
from ..stages.stage import Stage
from ..workspace import Workspace
from .memory import state_bytes, training_bytes
from .trial import Trial, take_step, trial_step, trials

TIMED_STEPS = 3
"""Steps that are timed; the fastest counts."""


@dataclass(frozen=True)
class PlannedTraining:
    """One kind of training and what all of its kind take together."""

    label: str
    """As of `Training`."""
    kind: str
    """As of `Training`."""
    count: int
    """How often it occurs."""
    steps: int
    """Optimizer steps of one training."""
    parameters: int
    """Trained parameters, with the heads of the method's terms."""
    seconds: float
    """Duration of all of its kind, without evaluations."""
    disk_bytes: int
    """Bytes that one leaves on disk."""
    memory_bytes: int
    """Bytes of the memory banks and queues of its terms."""


@dataclass
class Plan:
    """Everything that a run has ahead."""

    trainings: list[PlannedTraining] = field(default_factory=list)
    cache_seconds: float = 0.0
    """Duration of the teachers' passes over the data for cached outputs."""
    cache_bytes: int = 0
    """Size of the cached augmentations and outputs."""
    checkpoint_bytes: int = 0
    """Checkpoints of the largest training while it runs."""
    memory_bytes: int = 0
    """Peak memory of the trial steps: of the device, or on a CPU of the process."""

    @property
    def seconds(self) -> float:
        """Duration of all trainings and of the cache."""
        return self.cache_seconds + sum(training.seconds for training in self.trainings)

    @property
    def disk_bytes(self) -> int:
        """Bytes that the run leaves, and the checkpoints of its largest training."""
        return self.checkpoint_bytes + sum(t.count * t.disk_bytes for t in self.trainings)


def make_plan(trainings: Sequence[Training], workspace: Workspace) -> Plan:
    """Take a few steps of every kind of training on networks that are thrown away.

    Args:
        trainings: of the run.
        workspace: of a trial.

    Raises:
        UserError, TaskError: what cannot run, as `check_program`.
    """
    plan, accelerator, device = Plan(), workspace.accelerator, workspace.accelerator.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    cache = _CachePlan(workspace.config.transfer, device)
    with seeded(0):
        for trial in trials(trainings, workspace):
            trial_step(trial.stage, trial.train_config, accelerator, what=trial.training.label)
            batch = _full_batch(trial, device)
            task = trial.stage.task
            if cache.config.cached_augmentations and isinstance(task, TransferTask | PretrainTask):
                batch = cache.add(task, len(trial.stage.dataset), batch)
            seconds = fastest(lambda t=trial, b=batch: _step(t.stage, b, accelerator), device)  # type: ignore[misc]
            _add(plan, trial, seconds, workspace.config.keep)
    plan.cache_seconds, plan.cache_bytes = sum(cache.seconds.values()), sum(cache.sizes.values())
    plan.memory_bytes = (
        torch.cuda.max_memory_allocated(device)
        if device.type == "cuda"
        else psutil.Process().memory_info().rss
    )
    return plan


def fastest(action: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of the fastest of a few calls."""
    wait = torch.cuda.synchronize if device.type == "cuda" else None
    (seconds,) = time_calls([action], warmup=0, repeats=TIMED_STEPS, synchronize=wait)
    return min(seconds)


def _full_batch(trial: Trial, device: torch.device) -> dict[str, Tensor]:
    dataset = trial.stage.dataset
    rows = range(min(trial.train_config.batch_size, len(dataset)))
    return {name: value.to(device) for name, value in read_rows(dataset, rows).items()}


def _step(stage: Stage, batch: dict[str, Tensor], accelerator: Accelerator) -> None:
    with stage.context(), accelerator.autocast():
        take_step(stage.task, batch)


@dataclass
class _CachePlan:
    """Size and duration of the cached augmentations of all transfers."""

    config: TransferConfig
    device: torch.device
    sizes: dict[str, int] = field(default_factory=dict)
    """Bytes of each cached array."""
    seconds: dict[frozenset[str], float] = field(default_factory=dict)
    """Seconds of each pass of the teachers over the data, by the arrays that it caches besides vectors."""

    def add(
        self, task: TransferTask | PretrainTask, samples: int, batch: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Add a transfer; return the batch that the cache serves, and have the task read it."""
        inputs = task.inputs
        images, targets, _ = inputs(batch)
        dtype = getattr(torch, self.config.cache_dtype)
        copies = self.config.cached_augmentations * samples / len(images)
        cached, maps = {"images": as_kept(images, inputs.modality)}, set[str]()
        for index, outputs in enumerate(targets):
            parts = take_parts(outputs, _named(outputs))
            cached |= {f"{index}.{name}": value.to(dtype) for name, value in parts.items()}
            maps |= {f"{index}.{name}" for name, value in parts.items() if value.ndim > 2}
        self.sizes |= {name: round(value.nbytes * copies) for name, value in cached.items()}
        if (arrays := frozenset(maps if targets else cached)) not in self.seconds:
            self.seconds[arrays] = copies * fastest(lambda: inputs(batch), self.device)
        task.inputs = Inputs(lambda _: targets, inputs.modality)
        return batch | {inputs.modality: images}


def _named(outputs: Any) -> frozenset[str]:
    """Return the names of the outputs that are there."""
    names = {name for name in ("logits", "embedding") if getattr(outputs, name) is not None}
    return frozenset(names | {f"maps.{i}" for i, value in enumerate(outputs.maps) if value is not None})


def _add(plan: Plan, trial: Trial, seconds_per_batch: float, keep: str) -> None:
    training, task = trial.training, trial.stage.task
    steps = training.steps
    memory = 0 if task.memory is None else state_bytes(task.memory.state_dict())
    disk, checkpoints = training_bytes(task, trial.train_config, keep)
    plan.checkpoint_bytes = max(plan.checkpoint_bytes, checkpoints)
    plan.trainings.append(
        PlannedTraining(
            training.label,
            training.kind,
            trial.repeats,
            steps,
            sum(p.numel() for p in task.module.parameters() if p.requires_grad),
            seconds_per_batch * trial.repeats * steps * trial.train_config.accumulate,
            disk,
            memory,
        )
    )
