"""The base of the pipelines: teachers, the transfer to a student, and a judge; finished stages are kept."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Unpack

from torch import nn

from ..data import Mix
from ..deploy import describe
from ..distillers import Term, build_terms, check_settings, parse_method, parse_settings
from ..engine import Evaluate, Progress, StageRunner, seeded
from ..evaluation import AlignmentEvaluator
from ..models import Description
from ..transfer import (
    Cache,
    Inputs,
    Own,
    PipelineConfig,
    Teacher,
    TeacherTargets,
    TransferData,
    TransferTask,
    as_teacher,
    cached_targets,
    check_mixed,
    make_network,
    make_spec,
    no_targets,
    reads_of,
)
from .diagnostics import Watch, last_measured, with_alignment
from .preflight.compiled import choose_compiled
from .preflight.plan import Judging, planned_steps
from .preflight.trial import check_pipeline
from .results import RunResult, Supervision, Transferred, fingerprint_of_transfer, keep_student
from .stages.pretrain import pretrain
from .stages.teacher import train_teacher


class Pipeline(ABC):
    """Teachers, the transfer to a student by every method and seed, and what judges the student: a pipeline
    says which labels there are and how a student is judged.

    Args:
        config: the run's settings.
        data: what the transfer reads.
        stages: trains the stages in the run folder, or loads them.
        own: networks and an optimization of one's own.

    Raises:
        ValueError: an unknown method or setting; the nearest names are suggested.
    """

    student_classes: int | None = None
    """Of the logits of a student that is made by name; None for an encoder."""
    teacher_classes: int | None = None
    """Likewise, of the teachers."""
    class_names: tuple[str, ...] = ()
    """Of the logits of a student, as it is judged; their numbers if absent."""

    def __init__(
        self, config: PipelineConfig, data: TransferData, stages: StageRunner, **own: Unpack[Own]
    ) -> None:
        for method in config.method:
            parse_method(method)
        self.settings, self.checked = parse_settings(config.setting), False
        check_settings(self.settings)
        self.config, self.data, self.stages, self.accelerator = config, data, stages, stages.accelerator
        self.own = own
        teachers = own.get("teachers")
        self.own_teachers = None if teachers is None else [as_teacher(t, i) for i, t in enumerate(teachers)]
        self.teacher_histories: dict[int, list[dict[str, Any]]] = {}
        """Of the teachers that were trained here, by their number."""

    @abstractmethod
    def supervise(self, modality: str) -> Supervision:
        """The labels that a network of a modality is trained with and judged by."""

    @abstractmethod
    def judge(self, method: str, seed: int, transferred: Transferred) -> RunResult:
        """What a student is good for."""

    def build_teacher(self, number: int) -> nn.Module:
        """Teacher `number` of the configuration: with the weights of its file, else drawn."""
        config = self.config.teacher
        return make_network(
            config.architecture_of(number),
            config.modality_of(number),
            self.data.statistics,
            num_classes=self.teacher_classes,
            weights=config.weights_of(number),
            new_head=config.trains(number),
            normalization=config.normalization_of(number),
            layers=config.layers_of(number),
        )

    def require_fitting(self, teachers: Sequence[Teacher]) -> None:  # noqa: B027 - a pipeline may demand nothing
        """Raise `ValueError`, naming the teacher, for one that cannot teach here."""

    def transfer_evaluate(self, deploy: Callable[[nn.Module], nn.Module]) -> Evaluate | None:
        """What is measured during the transfer; `deploy`: trained student -> the network that is judged."""
        return None

    @cached_property
    def aligner(self) -> AlignmentEvaluator | None:
        """Measures every transfer before, during and after it, without a label; None for no such figures."""
        return None

    def teacher_metrics(self) -> list[dict[str, float]]:
        """What each teacher reaches on its own task; {} for one of which nothing is known."""
        return []

    def transfers(self) -> Iterator[tuple[str, str]]:
        """The method and the folder of every transfer that `runs` takes."""
        for seed in self.config.seed:
            for method in self.config.method:
                yield method, f"runs/{method}/seed-{seed}"

    def judging(self) -> Mapping[str, Judging]:
        """What the judge trains after every transfer, by the stage's name."""
        return {}

    def runs(self) -> Iterator[RunResult]:
        """Every method with every seed, as each is done; the teachers first."""
        self.check()
        if any(method != "none" for method in self.config.method):
            _ = self.teachers
        for seed in self.config.seed:
            for method in self.config.method:
                yield self.run(method, seed)

    def run(self, method: str, seed: int) -> RunResult:
        """One method with one seed: the transfer from all teachers, then the judge."""
        transferred = self.transfer(method, seed)
        return with_alignment(self.judge(method, seed, transferred), transferred)

    def align(self, student: nn.Module, teachers: Sequence[Teacher] | None = None) -> dict[str, float]:
        """How well a student is aligned with some teachers, or all: `alignment/…`; {} without `aligner`."""
        chosen = self.teachers if teachers is None and self.aligner is not None else teachers
        return Watch(self.aligner, chosen or (), self.accelerator).align(student)

    def check(self) -> None:
        """Take one step of every training, once, on networks that are thrown away.

        Raises:
            ValueError: what cannot run, told before the first teacher trains; see `check_pipeline`.
        """
        if not self.checked:
            check_pipeline(self)
            self.stages.progress = Progress(planned_steps(self))
            self.checked = True

    @cached_property
    def teachers(self) -> list[Teacher]:
        """Stage 1: the teachers, trained, read or given, on the device."""
        teachers = self.own_teachers
        if teachers is None:
            teachers = []
            for number in range(len(self.config.teacher)):
                teachers.append(train_teacher(self, number, teachers[-1].network if teachers else None))
        for teacher in teachers:
            teacher.network.to(self.accelerator.device)
        self.require_fitting(teachers)
        return teachers

    def transfer(
        self, method: str, seed: int, teachers: Sequence[int] | None = None, *, folder: str = ""
    ) -> Transferred:
        """Stage 2: a student, taught by a method; the same first weights for every method of a seed.

        Args:
            teachers: the numbers of those that teach; all if absent.
            folder: within the run folder; `runs/METHOD/seed-N` if absent.
        """
        folder = folder or f"runs/{method}/seed-{seed}"
        # The teachers' training may not come between the draws below.
        chosen = [] if method == "none" else self.teachers
        chosen = chosen if teachers is None else [chosen[number] for number in teachers]
        with seeded(seed):
            student = self.make_student()
            terms = self.make_terms(method, student, chosen)
        if not terms and not self.data.is_labeled:
            return Transferred(student, student, [])
        settings = {name: self.settings.get(name, {}) for name in terms}
        fingerprint = fingerprint_of_transfer(method, settings, student, chosen, self.config.transfer)
        if chosen and choose_compiled(self, chosen):
            fingerprint = {**fingerprint, "compiled": True}
        reads = reads_of(terms.values(), len(chosen))
        watch, before = Watch(self.aligner, chosen, self.accelerator), dict[str, float]()
        if watch.aligns:
            before = self.stages.keep(f"{folder}/before", fingerprint, lambda: watch.align(student))
        for name, term in terms.items():
            if term.pretrain is not None:
                stage = f"{folder}/pretrain-{name}"
                pretrain(self, stage, student, term, self.inputs(chosen, reads), seed, fingerprint)
        # AB and FSP end with what they train before: labels alone follow, if there are any.
        kept = {name: term for name, term in terms.items() if term.weight}
        deploy = next((term.deploy for term in terms.values() if term.deploy), lambda network: network)
        history: list[dict[str, Any]] = []
        task: TransferTask | None = None
        if kept or self.data.is_labeled:
            dataset, inputs = self.inputs(chosen if kept else [], reads)
            task = TransferTask(
                student, kept, inputs, task_weight=self.task_weight(terms), ema=self.config.transfer.ema
            )
            train = replace(self.config.transfer.train, lr=self.config.lr)
            history = self.stages.train(
                f"{folder}/transfer",
                task,
                dataset,
                train,
                seed,
                fingerprint=fingerprint,
                evaluate=watch.beside(self.transfer_evaluate(deploy), kept, task.average),
                optimizer=self.own.get("optimizer"),
                schedule=self.own.get("schedule"),
            )
        self.stages.progress.complete(f"{folder}/pretrain-", f"{folder}/transfer")
        student.to(self.accelerator.device)
        network = deploy(student).to(self.accelerator.device)
        if self.accelerator.is_main_process:
            average = None if task is None else task.average
            keep_student(self.stages.folder / folder, student, network, self.describe_network, average)
        if self.config.keep != "all" and network is student and task is not None:
            self.stages.drop_weights(f"{folder}/transfer", task.student_digests())
        return Transferred(network, student, history, before, last_measured(history) or watch.align(student))

    def describe_network(self, network: nn.Module) -> Description:
        """What a student of this pipeline is, for its file."""
        return describe(
            network,
            architecture=None if "student" in self.own else self.config.student,
            modality=self.data.modality,
            shape=self.data.shape(self.data.modality),
            class_names=self.class_names,
            **self.reading(),
        )

    def reading(self) -> dict[str, Any]:
        """How files become inputs of a student: the fields of `Description` that are not the default."""
        return {}

    @property
    def held_out(self) -> Any | None:
        """Samples of the student's modality that it is judged on; None if there are none."""
        return None

    def make_student(self) -> nn.Module:
        """The student, configured or given, its weights drawn from the global generator."""
        own, data, classes = self.own.get("student"), self.data, self.student_classes
        if own is not None:
            return copy.deepcopy(own) if isinstance(own, nn.Module) else own()
        return make_network(self.config.student, data.modality, data.statistics, num_classes=classes)

    def make_teacher(self, number: int) -> Teacher:
        """Teacher `number` before any training; its number and file stand in the message of what goes
        wrong."""
        config = self.config.teacher
        try:
            with seeded(config.seed + number):
                network = self.build_teacher(number)
        except (ValueError, OSError) as error:
            source = config.weights_of(number) or config.architecture_of(number)
            raise type(error)(f"teacher {number} ({source}): {error}") from error
        return Teacher(network, config.modality_of(number), f"{config.architecture_of(number)}-{number}")

    def make_terms(self, method: str, student: nn.Module, teachers: Sequence[Teacher]) -> dict[str, Term]:
        """The terms of a method for these networks; none without a teacher."""
        config = self.config.transfer
        if not teachers:
            return {}
        specs = [make_spec(student, teacher, self.data) for teacher in teachers]
        terms = build_terms(
            method,
            specs,
            self.settings,
            reduction=config.reduction,
            share_student=config.share_student,
            drop_teachers=config.drop_teachers,
        )
        if config.mix != "none":
            check_mixed(terms)
        return terms

    def task_weight(self, terms: Mapping[str, Term]) -> float | None:
        """The weight of the labels: the configured one, else the smallest that a term was published with."""
        if not self.data.is_labeled:
            return None
        published = min((term.task_weight for term in terms.values()), default=1.0)
        return published if self.config.task_weight is None else self.config.task_weight

    def inputs(
        self, teachers: Sequence[Teacher], reads: Sequence[frozenset[str]], *, live: bool = False
    ) -> tuple[Any, Inputs]:
        """The data set of a transfer, and how a step reads its batches."""
        data, config = self.data, self.config.transfer
        if config.cached_augmentations and not live:
            read = Inputs(cached_targets, data.modality, disturb=data.disturb)
            return self._cache.dataset(teachers, reads), read
        mix = None if config.mix == "none" else Mix(config.mix, config.mix_alpha)
        read = Inputs(no_targets, data.modality, data.augment, data.disturb, mix)
        if teachers:
            targets = TeacherTargets(teachers, compiled=not live and choose_compiled(self, teachers))
            read = replace(read, targets=targets, frozen=(targets,))
        return data.dataset, read

    @cached_property
    def _cache(self) -> Cache:
        config = self.config.transfer
        return Cache(
            self.data,
            config.cached_augmentations,
            seed=self.config.teacher.seed,
            dtype=config.cache_dtype,
            place="disk" if config.cache is not None and config.cache_on == "auto" else config.cache_on,
            folder=config.cache or self.stages.cache,
            limit=config.cache_limit * 2**30,
            fingerprint=self.stages.fingerprint,
            accelerator=self.accelerator,
        )
