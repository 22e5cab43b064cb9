"""The list of a run's trainings, which execution, checks, estimates and progress iterate over."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from ..engine import TrainConfig
from ..transfer import PipelineConfig, TeacherSpec
from .runs import StudentRun, stage_folder, students
from .stages.pretrain import pretrain_stage
from .stages.stage import Stage
from .stages.teacher import teacher_stage
from .stages.transfer import transfer_stage
from .workspace import Workspace

TRANSFER_KINDS = ("pretrain", "transfer")
"""Kinds of the trainings that make a student; what follows them is downstream."""


@dataclass(frozen=True)
class Training:
    """One training of a run."""

    name: str
    """Folder of the stage within the run folder."""
    kind: str
    """`teacher`, `pretrain`, `transfer`, or the kind of a downstream training, such as `segment`."""
    method: str
    """Method of the student as typed; empty for a teacher."""
    seed: int
    """Seed of the initialization, the order and the augmentation."""
    dataset_size: int
    """Number of samples."""
    train_config: TrainConfig
    """Settings of the optimization."""
    build: Callable[[Workspace], Stage | None]
    """Builds the networks and the loss when the trainings before it are done; None if nothing is to train."""
    label: str
    """Name in tables and messages; trainings of one label differ in their seed or their teachers only, so one
    of them is tried and stands for the others."""
    run: StudentRun | None = None
    """The student; None for a teacher."""

    @property
    def steps(self) -> int:
        """Number of optimizer steps."""
        batches = math.ceil(self.dataset_size / self.train_config.batch_size)
        return self.train_config.epochs * math.ceil(batches / self.train_config.accumulate)


class Sizes(NamedTuple):
    """What the list of trainings depends on besides the configuration."""

    transfer: int
    """Samples of the transfer."""
    is_labeled: bool
    """Whether the transfer has class labels, so that a student without a teacher is trained in it."""
    supervised: int | None = None
    """Samples that teachers are trained on; None if the caller gives the teachers."""


class Downstream(NamedTuple):
    """A training that follows the transfer of every student."""

    kind: str
    dataset_size: int
    train_config: TrainConfig
    build: Callable[[Workspace], Stage | None]
    """As of `Training`; it stores what it trains in `StudentState.outputs[kind]`."""


def program(
    config: PipelineConfig,
    sizes: Sizes,
    *,
    runs: Sequence[StudentRun] | None = None,
    downstream: Sequence[Downstream] = (),
) -> tuple[Training, ...]:
    """Return every training of a run, in the order of execution.

    Args:
        config: settings of the run.
        sizes: numbers of samples.
        runs: the students; one for each seed and method if absent, the teachers alone if empty.
        downstream: trainings that follow every transfer.
    """
    runs = students(config) if runs is None else runs
    trainings: list[Training] = []
    if sizes.supervised is not None and (not runs or any(run.method != "none" for run in runs)):
        trainings += _teacher_trainings(config, sizes.supervised)
    for run in runs:
        trainings += _student_trainings(config, run, sizes, downstream)
    return tuple(trainings)


def _teacher_trainings(config: PipelineConfig, samples: int) -> Iterator[Training]:
    first: dict[TeacherSpec, int] = {}
    teachers = config.teacher
    for index, spec in enumerate(teachers.specs):
        if teachers.trains(index):
            kind = first.setdefault(spec.kind, index)
            seed = teachers.seed + index
            yield Training(
                stage_folder(seed, modality=spec.modality),
                "teacher",
                "",
                seed,
                samples,
                teachers.train,
                partial(teacher_stage, index=index),
                f"teacher {spec.architecture}-{kind}",
            )


def _student_trainings(
    config: PipelineConfig, run: StudentRun, sizes: Sizes, downstream: Sequence[Downstream]
) -> Iterator[Training]:
    train = replace(config.transfer.train, lr=config.lr)

    def training(
        stage: str, kind: str, size: int, train: TrainConfig, build: Callable[[Workspace], Stage | None]
    ) -> Training:
        label = f"{run.method} {stage}" if kind in TRANSFER_KINDS else kind
        return Training(stage_folder(run, stage), kind, run.method, run.seed, size, train, build, label, run)

    for name, epochs in config.parse(run.method).pretraining.items():
        if epochs:
            pretrain = replace(train, epochs=epochs, warmup_epochs=0.0)
            build = partial(pretrain_stage, term=name)
            yield training(f"pretrain-{name}", "pretrain", sizes.transfer, pretrain, build)
    if run.method != "none" or sizes.is_labeled:
        yield training("transfer", "transfer", sizes.transfer, train, transfer_stage)
    for task in downstream:
        yield training(task.kind, task.kind, task.dataset_size, task.train_config, task.build)
