"""The base of the three pipelines."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

from torch import nn

from ..deploy import describe
from ..engine import Evaluate, StageRunner
from ..evaluation import AlignmentEvaluator
from ..models import Description
from ..transfer import Builder, Teacher
from .diagnostics import Diagnostics, with_alignment
from .execution import Execution
from .preflight.preflight import Preflight
from .program import Downstream, Sizes, Training, program
from .results import DataSplits, Outputs, RunResult, Supervision, Transferred
from .runs import StudentRun, students
from .stages.stage import History
from .workspace import Workspace


class Pipeline(ABC):
    """Teachers, the transfer to a student for every method and seed, and the evaluation of the student.

    A pipeline says which labels there are, what is trained after the transfer and how a student is evaluated.

    Args:
        builder: makes networks, terms and inputs from the configuration.
        stages: trains the stages in the run folder, or loads them.
    """

    class_names: tuple[str, ...] = ()
    """Names of the classes of a student's logits, as it is evaluated; their indices if absent."""

    def __init__(self, builder: Builder, stages: StageRunner) -> None:
        self.builder, self.config, self.data = builder, builder.config, builder.data
        self.stages, self.accelerator = stages, stages.accelerator
        self.is_checked = False

    @abstractmethod
    def supervise(self, modality: str) -> Supervision:
        """Return the labels that a network of a modality is trained with and evaluated by."""

    @abstractmethod
    def evaluate(self, run: StudentRun, transferred: Transferred, outputs: Outputs) -> RunResult:
        """Return the metrics of a student after its transfer and its downstream trainings."""

    def evaluate_frozen(self, run: StudentRun, network: nn.Module) -> dict[str, float]:
        """Return the metrics of a student before its downstream trainings, which may change it."""
        return {}

    @abstractmethod
    def data_splits(self) -> DataSplits:
        """Return the data sets of the run."""

    def students(self) -> tuple[StudentRun, ...]:
        """Return the students of the run, in the order in which they are trained."""
        return students(self.config)

    def downstream(self) -> tuple[Downstream, ...]:
        """Return the trainings that follow every transfer."""
        return ()

    def transfer_evaluate(self, deploy: Callable[[nn.Module], nn.Module]) -> Evaluate | None:
        """Return what computes metrics during the transfer.

        Args:
            deploy: trained student -> the network that is evaluated.
        """
        return None

    @cached_property
    def aligner(self) -> AlignmentEvaluator | None:
        """Measures the alignment of students with their teachers; None for no such metrics."""
        return None

    def teacher_metrics(self) -> list[dict[str, float]]:
        """Return the metrics of each teacher; empty for one of which nothing is known."""
        return []

    def reading(self) -> dict[str, Any]:
        """Return how files become inputs of a student: fields of `Description` that are not the default."""
        return {}

    @property
    def held_out(self) -> Any | None:
        """Samples of the student's modality that it is evaluated on; None if there are none."""
        return None

    @cached_property
    def program(self) -> tuple[Training, ...]:
        """Every training of the run, in the order of execution."""
        return self.list_trainings(self.students())

    def list_trainings(self, runs: Sequence[StudentRun]) -> tuple[Training, ...]:
        """Return the trainings of some students, and of the teachers."""
        config, supervised = self.config.teacher, None
        if self.builder.given_teachers is None and any(map(config.trains, range(len(config)))):
            supervised = len(self.supervise(config.specs[0].modality).dataset)
        sizes = Sizes(len(self.data.dataset), self.data.is_labeled, supervised)
        return program(self.config, sizes, runs=runs, downstream=self.downstream())

    def workspace(self, *, trial: bool = False) -> Workspace:
        """Return a workspace without networks."""
        aligner = None if trial else self.aligner
        return Workspace(
            self.builder, self.stages, self.supervise, self.transfer_evaluate, aligner, trial=trial
        )

    @cached_property
    def execution(self) -> Execution:
        """Trains the program of this run."""
        return Execution(self.program, self.list_trainings, self.workspace(), self.describe_network)

    @cached_property
    def preflight(self) -> Preflight:
        """Checks and estimates before the run."""
        return Preflight(self.program, partial(self.workspace, trial=True))

    @property
    def teachers(self) -> list[Teacher]:
        """The teachers, trained, read or given, on the device."""
        return self.execution.teachers

    @property
    def teacher_histories(self) -> dict[int, History]:
        """Histories of the teachers that were trained in the run, by their index."""
        return self.execution.workspace.teacher_histories

    def check(self) -> None:
        """Check what the run needs and take one step of every kind of training, as `Preflight.check`."""
        self.preflight.check()
        self.is_checked = True

    def runs(self) -> Iterator[RunResult]:
        """Yield the result of every student; the teachers are trained first."""
        if not self.is_checked:
            self.check()
        self.execution.announce()
        if any(method != "none" for method in self.config.method):
            _ = self.teachers
        for run in self.students():
            yield self.execute(run)

    def run(self, method: str, seed: int) -> RunResult:
        """Return the result of one method with one seed."""
        return self.execute(StudentRun(method, seed))

    def execute(self, run: StudentRun) -> RunResult:
        """Return the result of one student: transfer, downstream trainings, evaluation."""
        transferred = self.execution.transfer(run)
        frozen = self.evaluate_frozen(run, transferred.network)
        result = self.evaluate(run, transferred, self.execution.downstream(run))
        return with_alignment(replace(result, metrics=frozen | result.metrics), transferred)

    def transfer(self, method: str, seed: int) -> Transferred:
        """Return the student of one method and seed after its transfer."""
        return self.execution.transfer(StudentRun(method, seed))

    def align(self, student: nn.Module, teachers: Sequence[Teacher] | None = None) -> dict[str, float]:
        """Return the alignment of a student with some teachers, or all; empty without `aligner`."""
        if self.aligner is None:
            return {}
        return Diagnostics(self.aligner, teachers or self.teachers, self.accelerator).align(student)

    def describe_network(self, network: nn.Module) -> Description:
        """Return what a student of this pipeline is, for its file."""
        return describe(
            network,
            architecture=self.builder.architecture,
            modality=self.data.modality,
            shape=self.data.shape(self.data.modality),
            class_names=self.class_names,
            **self.reading(),
        )
