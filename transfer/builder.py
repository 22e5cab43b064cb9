"""From a configuration to what a transfer step needs: student, teachers, loss terms and inputs."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

from torch import nn

from ..common import UserError
from ..data import Mix
from ..distillers import Method, Term, build_terms
from ..engine import OptimizerFactory, Schedule, seeded
from ..models import measure
from .cache import Cache, cached_targets
from .config import PipelineConfig
from .networks import make_network
from .spec import TransferData, check_mixed, make_spec
from .targets import Teacher, TeacherTargets, as_teacher, no_targets
from .task import Inputs

Network = nn.Module | Callable[[], nn.Module]
"""A network, or a function that makes one; the function initializes the weights again for each seed."""


class Overrides(TypedDict, total=False):
    """Objects that replace what is configured."""

    student: Network
    """Takes the student's modality in its own units and returns `Outputs`. A module is copied for each run, a
    function is called for each."""
    teachers: Sequence[Teacher | nn.Module]
    """A plain module takes `rgb` as input."""
    optimizer: OptimizerFactory
    """Makes the student's optimizer from the trainable parameters."""
    schedule: Schedule
    """(step, total steps) -> factor of the student's learning rate."""


class Builder:
    """Make the student, the teachers, the loss terms and the inputs of a run.

    Args:
        config: settings of the run.
        data: samples of the transfer.
        overrides: networks, an optimizer and a schedule that replace the configured ones.
        student_classes: number of classes of a configured student's logits; None for an encoder.
        teacher_classes: number of classes of the configured teachers' logits; None for encoders.

    Raises:
        UserError: an unknown method or setting; the message suggests the nearest names.
    """

    def __init__(
        self,
        config: PipelineConfig,
        data: TransferData,
        overrides: Overrides | None = None,
        *,
        student_classes: int | None = None,
        teacher_classes: int | None = None,
    ) -> None:
        self.config, self.data, self.methods = config, data, config.methods
        self.overrides: Overrides = overrides or {}
        self.student_classes, self.teacher_classes = student_classes, teacher_classes
        teachers = self.overrides.get("teachers")
        self.given_teachers = None if teachers is None else [as_teacher(t, i) for i, t in enumerate(teachers)]
        """Teachers of the caller; None if they are configured."""

    @property
    def architecture(self) -> str | None:
        """Name of the student's architecture; None for a student of the caller."""
        return None if "student" in self.overrides else self.config.student

    def student(self) -> nn.Module:
        """Return a new student; the global random generator initializes its weights."""
        student = self.overrides.get("student")
        if student is not None:
            return copy.deepcopy(student) if isinstance(student, nn.Module) else student()
        data = self.data
        return make_network(
            self.config.student, data.modality, data.statistics, num_classes=self.student_classes
        )

    def teacher(self, index: int) -> Teacher:
        """Return a configured teacher before any training.

        Raises:
            UserError, OSError: its weights cannot be read or do not fit; the message names the teacher.
        """
        config = self.config.teacher
        spec = config.specs[index]
        try:
            with seeded(config.seed + index):
                network = self.teacher_network(index)
        except (UserError, OSError) as error:
            source = spec.weights or spec.architecture
            raise type(error)(f"teacher {index} ({source}): {error}") from error
        return Teacher(network, spec.modality, f"{spec.architecture}-{index}")

    def teacher_network(self, index: int) -> nn.Module:
        """Return the network of a configured teacher, with the weights of its file or initialized."""
        spec = self.config.teacher.specs[index]
        return make_network(
            spec.architecture,
            spec.modality,
            self.data.statistics,
            num_classes=self.teacher_classes,
            weights=spec.weights,
            new_head=self.config.teacher.trains(index),
            normalization=spec.normalization,
            layers=spec.layers,
        )

    def check_teachers(self, teachers: Sequence[Teacher]) -> None:
        """Raise `UserError` for a teacher whose logits do not have the student's classes.

        An encoder as the student (`student_classes` None) may have teachers with any outputs.
        """
        classes = self.student_classes
        if classes is None:
            return
        for teacher in teachers:
            logits = measure(teacher.network, self.data.shape(teacher.modality)).logits
            if logits != (classes,):
                given = "no logits" if logits is None else f"logits of {logits}"
                raise UserError(f"teacher {teacher.name} gives {given}; the images have {classes} classes")

    def terms(self, method: Method, student: nn.Module, teachers: Sequence[Teacher]) -> dict[str, Term]:
        """Return the loss terms of a method for these networks; none without a teacher."""
        config = self.config.transfer
        if not teachers:
            return {}
        specs = [make_spec(student, teacher, self.data) for teacher in teachers]
        terms = build_terms(
            method,
            specs,
            reduction=config.reduction,
            share_student=config.share_student,
            drop_teachers=config.drop_teachers,
        )
        if config.mix != "none":
            check_mixed(terms)
        return terms

    def task_weight(self, terms: Mapping[str, Term]) -> float | None:
        """Return the weight of the cross-entropy, by default the smallest published with a term.

        None if the transfer has no class labels.
        """
        if not self.data.is_labeled:
            return None
        published = min((term.task_weight for term in terms.values()), default=1.0)
        return published if self.config.task_weight is None else self.config.task_weight

    def inputs(
        self, teachers: Sequence[Teacher], reads: Sequence[frozenset[str]], *, cache: Cache | None = None
    ) -> tuple[Any, Inputs]:
        """Return the data set of a transfer, and how a step reads its batches.

        Args:
            teachers: the teachers of this transfer.
            reads: names of the outputs that the terms use, for each teacher.
            cache: cached teacher outputs; None runs the teachers in every step.
        """
        data, config = self.data, self.config.transfer
        if cache is not None:
            return cache.dataset(teachers, reads), Inputs(cached_targets, data.modality, disturb=data.disturb)
        mix = None if config.mix == "none" else Mix(config.mix, config.mix_alpha)
        if not teachers:
            return data.dataset, Inputs(no_targets, data.modality, data.augment, data.disturb, mix)
        targets = TeacherTargets(teachers, compiled=config.compile_teachers)
        return data.dataset, Inputs(targets, data.modality, data.augment, data.disturb, mix, (targets,))
