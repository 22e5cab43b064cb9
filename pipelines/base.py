"""The base of the three pipelines."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial

from ..engine import StageRunner
from ..transfer import Builder, Teacher
from .definition import Definition
from .diagnostics import with_alignment
from .execution import Execution
from .preflight.preflight import Preflight
from .program import Sizes, Training, program
from .results import RunResult, Transferred
from .runs import StudentRun
from .stages.stage import History
from .workspace import Workspace


class Pipeline(Definition):
    """Teachers, the transfer to a student for every method and seed, and the evaluation of the student.

    A subclass says which labels there are and how a student is evaluated (`Definition`).

    Args:
        builder: makes networks, terms and inputs from the configuration.
        stages: trains the stages in the run folder, or loads them.
    """

    def __init__(self, builder: Builder, stages: StageRunner) -> None:
        self.builder, self.config, self.data = builder, builder.config, builder.data
        self.stages, self.accelerator = stages, stages.accelerator
        self.is_checked = False

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
