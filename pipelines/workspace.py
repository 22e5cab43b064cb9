"""The networks of a run, handed from one training to the next."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

from torch import nn

from ..data import Batch
from ..distillers import Term
from ..engine import Evaluate, StageRunner, seeded
from ..evaluation import AlignmentEvaluator
from ..models import Description, Outputs, from_parts, take_parts
from ..transfer import Builder, Cache, Inputs, Targets, Teacher, TeacherSpec, TransferTask, reads_of
from .diagnostics import Diagnostics, last_alignment
from .results import Supervision, Transferred, fingerprint_of_transfer, save_student
from .runs import StudentRun, stage_folder
from .stages.stage import History


@dataclass
class StudentState:
    """A student while its trainings are executed."""

    run: StudentRun
    student: nn.Module
    teachers: list[Teacher]
    terms: dict[str, Term]
    """Loss terms of the method by name."""
    diagnostics: Diagnostics
    fingerprint: Mapping[str, Any] = field(default_factory=dict)
    before: Mapping[str, float] = field(default_factory=dict)
    """Alignment with the teachers before the transfer."""
    task: TransferTask | None = None
    """The transfer; None if this student has none."""
    history: History = field(default_factory=list)
    """History of the transfer."""
    outputs: dict[str, tuple[nn.Module, History]] = field(default_factory=dict)
    """Network and history of each downstream training, by its kind."""

    @property
    def trained_terms(self) -> dict[str, Term]:
        """Terms of the transfer, without those that only pretrain."""
        return {name: term for name, term in self.terms.items() if term.weight}

    @property
    def reads(self) -> tuple[frozenset[str], ...]:
        """Names of the outputs that the terms read, for each teacher."""
        return reads_of(self.terms.values(), len(self.teachers))

    def deploy(self, student: nn.Module) -> nn.Module:
        """Return the network that is evaluated and kept; for SimKD it has the teacher's classifier."""
        function = next((term.deploy for term in self.terms.values() if term.deploy), None)
        return student if function is None else function(student)

    def keep_output(self, kind: str, network: nn.Module) -> Callable[[History], None]:
        """Return what stores a downstream training's network and history under its kind."""

        def keep(history: History) -> None:
            self.outputs[kind] = network, history

        return keep

    @cached_property
    def network(self) -> nn.Module:
        """The student as it is evaluated and kept; first read after the transfer."""
        return self.deploy(self.student)


class Workspace:
    """Builds what the trainings of a run need, and keeps the networks that later trainings start from.

    Args:
        builder: makes networks, terms and inputs.
        stages: trains the stages in the run folder; its accelerator says where.
        supervise: modality -> labels to train a network with.
        transfer_evaluate: deploy function -> metrics during the transfer.
        aligner: measures the alignment of a student with its teachers; None for no such metrics.
        trial: networks are thrown away: one teacher of each kind, no cache, nothing is written.
    """

    def __init__(
        self,
        builder: Builder,
        stages: StageRunner,
        supervise: Callable[[str], Supervision],
        transfer_evaluate: Callable[[Callable[[nn.Module], nn.Module]], Evaluate | None],
        aligner: AlignmentEvaluator | None = None,
        *,
        trial: bool = False,
    ) -> None:
        self.builder, self.stages, self.aligner, self.trial = builder, stages, aligner, trial
        self.accelerator, self.config = stages.accelerator, builder.config
        self.supervise, self.transfer_evaluate = supervise, transfer_evaluate
        self.teachers: dict[int, Teacher] = {}
        """Teachers by index, as they are trained or read."""
        self.teacher_histories: dict[int, History] = {}
        """Histories of the teachers that were trained in the run."""
        self._state: StudentState | None = None

    @property
    def student(self) -> StudentState:
        """The student whose trainings are executed."""
        assert self._state is not None, "no student is open"
        return self._state

    def add_teacher(self, index: int) -> Teacher:
        """Return a teacher before any training, and keep it. A trial has one of each kind."""
        if index not in self.teachers:
            self.teachers[index] = self.builder.teacher(index)
        return self.teachers[index]

    def trial_teachers(self) -> list[Teacher]:
        """Return one teacher of each kind, and a second of the first kind if there are several of a kind."""
        if self.builder.given_teachers is not None:
            return self.builder.given_teachers
        specs = self.config.teacher.specs
        first: dict[TeacherSpec, int] = {}
        for index, spec in enumerate(specs):
            first.setdefault(spec.kind, index)
        indices = list(first.values())
        repeated = [self.builder.teacher(index) for index in indices[: len(specs) > len(indices)]]
        return [*map(self.add_teacher, indices), *repeated]

    def open(self, run: StudentRun, teachers: Sequence[Teacher]) -> StudentState:
        """Make the student of a run and its terms; a method has the same initialization for each seed.

        Args:
            run: the student.
            teachers: the teachers it learns from; none for the method `none`.
        """
        builder, stages, method = self.builder, self.stages, self.config.parse(run.method)
        with seeded(run.seed):
            student = builder.student()
            terms = builder.terms(method, student, teachers)
        used = list(teachers) if terms else []
        state = StudentState(run, student, used, terms, Diagnostics(self.aligner, used, self.accelerator))
        self._state = state
        if not self.trial and (terms or builder.data.is_labeled):
            settings = {part.name: dict(part.settings) for part in method.parts if part.name in terms}
            state.fingerprint = fingerprint_of_transfer(
                run.method, settings, student, used, self.config.transfer
            )
            if state.diagnostics.aligns:
                folder = stage_folder(run, "before")
                state.before = stages.keep(
                    folder, state.fingerprint, lambda: state.diagnostics.align(student)
                )
        for term in terms.values():
            if term.pretrain is not None and not term.pretrain.epochs:
                term.pretrain.finish()
        return state

    def inputs(self, teachers: Sequence[Teacher], reads: Sequence[frozenset[str]]) -> tuple[Any, Inputs]:
        """Return the data set of a transfer, and how a step reads its batches."""
        cached = self.config.transfer.cached_augmentations and not self.trial
        dataset, inputs = self.builder.inputs(teachers, reads, cache=self.cache if cached else None)
        if self.trial:
            inputs = replace(inputs, targets=partial(_only_read, inputs.targets, reads))
        return dataset, inputs

    @cached_property
    def cache(self) -> Cache:
        """Cached augmentations and teacher outputs, shared by all students of the run."""
        config, stages = self.config.transfer, self.stages
        return Cache(
            self.builder.data,
            config.cached_augmentations,
            seed=self.config.teacher.seed,
            dtype=config.cache_dtype,
            place="disk" if config.cache is not None and config.cache_on == "auto" else config.cache_on,
            folder=config.cache or stages.cache,
            limit=config.cache_limit * 2**30,
            fingerprint=stages.fingerprint,
            accelerator=self.accelerator,
        )

    def finish_transfer(self, describe: Callable[[nn.Module], Description]) -> Transferred:
        """Deploy the student, write its files and return it with the figures of its transfer."""
        state, device = self.student, self.accelerator.device
        student, task = state.student, state.task
        if not state.terms and not self.builder.data.is_labeled:
            return Transferred(student, student, [])
        student.to(device)
        network = state.network.to(device)
        folder = stage_folder(state.run)
        if self.accelerator.is_main_process:
            average = None if task is None else task.average
            save_student(self.stages.folder / folder, student, network, describe, average)
        if self.config.keep != "all" and network is student and task is not None:
            self.stages.drop_weights(stage_folder(state.run, "transfer"), task.student_digests())
        after = last_alignment(state.history) or state.diagnostics.align(student)
        return Transferred(network, student, state.history, state.before, after)


def _only_read(targets: Targets, reads: Sequence[frozenset[str]], batch: Batch) -> tuple[Outputs, ...]:
    """Return the outputs that the terms say they read, as a cache would give them."""
    pairs = zip(targets(batch), reads, strict=True)
    return tuple(from_parts(take_parts(outputs, names)) for outputs, names in pairs)
