"""One step of every kind of training on networks that are thrown away, before any training begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch

from ...common import UserError, require_space, used_disk
from ...data import read_rows
from ...engine import Accelerator, Task, TrainConfig, check_task, seeded, shared_statistics, weighted_sum
from ..program import Training
from ..stages.stage import Stage
from ..workspace import Workspace
from .memory import training_bytes

TRIAL_SAMPLES = 2
"""Samples of a trial step; fewer if the last batch of an epoch has fewer."""


class Trial(NamedTuple):
    """One training, built on networks that are thrown away, and how often its kind occurs."""

    training: Training
    stage: Stage
    train_config: TrainConfig
    repeats: int


def trials(trainings: Sequence[Training], workspace: Workspace) -> Iterator[Trial]:
    """Build the first training of each label; each must be used before the next is requested.

    Args:
        trainings: of the run.
        workspace: of a trial.
    """
    counts = Counter(training.label for training in trainings)
    seen: set[str] = set()
    methods = {training.method for training in trainings} - {"", "none"}
    teachers = workspace.trial_teachers() if methods else []
    for training in trainings:
        if training.kind == "teacher" and training.label not in seen:
            seen.add(training.label)
            yield from _trial(training, workspace, counts)
    for teacher in teachers:
        teacher.network.to(workspace.accelerator.device)
    workspace.builder.check_teachers(teachers)
    for run in dict.fromkeys(training.run for training in trainings if training.run is not None):
        new = [t for t in trainings if t.run == run and t.label not in seen]
        if new:
            workspace.open(run, [] if run.method == "none" else teachers)
            for training in new:
                if training.label not in seen:
                    seen.add(training.label)
                    yield from _trial(training, workspace, counts)


def _trial(training: Training, workspace: Workspace, counts: Counter[str]) -> Iterator[Trial]:
    stage = training.build(workspace)
    if stage is not None:
        yield Trial(training, stage, stage.train_config or training.train_config, counts[training.label])


def check_program(trainings: Sequence[Training], workspace: Workspace) -> None:
    """Take a step of every kind of training on networks that are thrown away.

    Args:
        trainings: of the run.
        workspace: of a trial.

    Raises:
        UserError: a method that cannot run on these networks, weights that do not fit, a last batch of one
            sample under batch normalization.
        OutputError: all stages together need more disk than is free.
    """
    stored = largest = 0
    with seeded(0):
        for trial in trials(trainings, workspace):
            label = trial.training.label
            trial_step(trial.stage, trial.train_config, workspace.accelerator, what=label)
            kept, checkpoints = training_bytes(trial.stage.task, trial.train_config, workspace.config.keep)
            stored += trial.repeats * kept
            largest = max(largest, checkpoints)
    remedy = "all stages of the run together take that; --keep none, another --output or smaller networks"
    folder = workspace.stages.folder
    require_space(folder, max(0, largest + stored - used_disk(folder)), remedy)


def trial_step(stage: Stage, train: TrainConfig, accelerator: Accelerator, *, what: str) -> None:
    """Run forward, backward and a write of the memory, with as few samples as a rank ever has of a batch.

    Args:
        stage: over networks that are not used afterwards; they end on the device and in training mode.
        train: settings of the training.
        accelerator: where it runs.
        what: names the training in messages.

    Raises:
        UserError: the networks or the data do not allow the training.
        TaskError: the task breaks the engine's contract.
    """
    task, dataset, device = stage.task, stage.dataset, accelerator.device
    check_task(task)
    last = len(dataset) % train.batch_size or min(train.batch_size, len(dataset))
    ranks = accelerator.num_processes
    last = last // ranks if last >= ranks else last
    batch = read_rows(dataset, range(min(TRIAL_SAMPLES, last)))
    batch = {name: value.to(device) for name, value in batch.items()}
    to_device(task, device)
    try:
        with stage.context(), accelerator.autocast(), shared_statistics(train.sync_batchnorm):
            take_step(task, batch)
    except UserError as error:
        raise type(error)(f"{what} cannot be trained: {error}") from error
    except Exception as error:
        if last != 1 or "more than 1 value per channel" not in str(error):
            error.add_note(f"in the trial step of {what}")
            raise
        owner = "" if ranks == 1 else f" for one of {ranks} processes"
        raise UserError(
            f"{what}: the last batch of an epoch has one of the {len(dataset)} samples{owner}, from which "
            f"batch normalization has no statistics; choose another batch size than {train.batch_size}"
        ) from error


def to_device(task: Task, device: torch.device) -> None:
    """Move a task to the device, its module in training mode."""
    task.module.to(device).train()
    for part in (task.memory, *task.frozen):
        if part is not None:
            part.to(device)


def take_step(task: Task, batch: dict[str, Any]) -> None:
    """Compute the loss and its gradients and write the memory, without the optimizer's step."""
    terms, extra = task.terms(task.module, batch)
    weighted_sum(terms, task.weights_at(0)).backward()
    with torch.no_grad():
        task.update(batch, extra)
