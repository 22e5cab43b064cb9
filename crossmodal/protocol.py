"""What all cross-modal scenarios share: a teacher of one view, and its transfer to a student of another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from ..data import Batch, Statistics
from ..distillers import parse_method
from ..engine import Accelerator, StageRunner, TransferTask, digest, seeded
from ..models import Frozen, Normalized, measure
from .config import CrossModalConfig
from .networks import TeacherTargets
from .terms import TERMS, Shapes, build_terms
from .views import CachedViews, DisturbedViews, LiveViews, Rows, compute_views


@dataclass(frozen=True)
class RunResult:
    """One method with one seed, done."""

    method: str
    seed: int
    metrics: dict[str, Any]
    """Fractions of 1: of the last epoch, best_… of the best, and what the scenario adds."""
    history: list[dict[str, Any]]
    """Of the last stage."""
    network: nn.Module


@dataclass(frozen=True)
class Pairs:
    """What a transfer reads: paired views, without labels."""

    dataset: Any
    """(M) samples of both views, or of what they are made of, with `index`."""
    augment: nn.Module
    """batch -> batch with both views under their names; may be cached."""
    disturb: nn.Module | None
    """batch -> batch: what the student's view undergoes on top, anew at every step."""
    teacher_modality: str
    student_modality: str
    statistics: Statistics
    """Of both views."""
    size: tuple[int, int]
    """(H, W) of both."""
    seed: int = 0
    """Of the views that are made once."""

    def shape(self, view: str) -> tuple[int, int, int]:
        """(C, H, W) of a view."""
        return (len(self.statistics.mean[view]), *self.size)


class Protocol(ABC):
    """All stages of a configuration: a teacher, the transfer to a student, and what judges the student.

    A scenario says what the teacher is, what the student is and how it is judged.

    Args:
        config: the run's settings.
        pairs: what the transfer reads.
        accelerator: device, processes and precision.
        folder: the run folder; each stage has its own folder inside.
        facts: JSON values that every stage depends on, such as the data.
    """

    fused = False
    """Whether the teacher's last map is a fused one, the dense target as it is."""

    def __init__(
        self,
        config: CrossModalConfig,
        pairs: Pairs,
        accelerator: Accelerator,
        folder: Path,
        *,
        facts: Mapping[str, Any],
    ) -> None:
        for method in config.method:
            parse_method(method, TERMS)
        self.settings, self.pairs, self.accelerator = config, pairs, accelerator
        self.stages = StageRunner(folder, accelerator, reuse=config.reuse, facts=facts)

    @property
    @abstractmethod
    def teacher(self) -> Normalized:
        """Stage 1: the teacher, trained or read, on the device."""

    @abstractmethod
    def make_student(self) -> Normalized:
        """The student's encoder, its weights drawn from the global generator."""

    @property
    @abstractmethod
    def student_facts(self) -> Any:
        """By what a stage knows the student: JSON values."""

    @abstractmethod
    def judge(self, method: str, seed: int, student: Normalized) -> RunResult:
        """Stage 3: what the student is good for."""

    def teacher_metrics(self) -> dict[str, float] | None:
        """The teacher's, of its last epoch, where it was trained here."""
        return None

    def runs(self) -> Iterator[RunResult]:
        """Every method with every seed, as each is done; the teacher first, where a method has one."""
        if any(parse_method(method, TERMS) for method in self.settings.method):
            _ = self.teacher
        for seed in self.settings.seed:
            for method in self.settings.method:
                yield self.judge(method, seed, self.transfer(method, seed))

    def transfer(self, method: str, seed: int) -> Normalized:
        """Stage 2: the student's encoder, taught by a method on the paired samples without their labels."""
        config, pairs = self.settings.transfer, self.pairs
        teacher = (
            self.teacher if parse_method(method, TERMS) else None
        )  # its training may not come between the draws below
        with seeded(seed):
            student = self.make_student()
            if teacher is None:
                return student
            terms = build_terms(method, self._shapes(student), config)
        dataset: Dataset[Any] = pairs.dataset
        views: nn.Module = self._live_views
        if config.views:
            dataset, views = Rows(len(pairs.dataset)), CachedViews(lambda: self._stored_views)
        if pairs.disturb is not None:
            views = DisturbedViews(views, pairs.disturb, pairs.student_modality)
        task = TransferTask(student, terms, views, frozen=(self._targets,))
        self.stages.train(
            f"runs/{method}/seed-{seed}/transfer", task, dataset, config.train, seed,
            facts={
                "transfer": asdict(config),
                "student": self.student_facts,
                "method": method,
                "teacher": digest(teacher.state_dict()),
            },
        )  # fmt: skip
        return student

    def _shapes(self, student: nn.Module) -> Shapes:
        dimensions = measure(student, self.pairs.shape(self.pairs.student_modality))
        dry = torch.zeros(2, *self.pairs.shape(self.pairs.teacher_modality), device=self.accelerator.device)
        targets = {name: tuple(value.shape[1:]) for name, value in self._targets(dry).items()}
        return Shapes(
            student_maps=dimensions.maps,
            teacher_logits=targets["logits"],
            teacher_map=targets["map"],
            teacher_embedding=targets["embedding"][0],
            teacher_attention=tuple(shape for name, shape in targets.items() if name.startswith("attention")),
            num_samples=len(self.pairs.dataset),
        )

    @cached_property
    def _targets(self) -> Frozen:
        """The frozen teacher, giving named targets on the student's grid."""
        with seeded(0):
            student = self.make_student()
        grid = measure(student, self.pairs.shape(self.pairs.student_modality)).maps[-1][1]
        return Frozen(TeacherTargets(self.teacher, grid=grid, fused=self.fused))

    @cached_property
    def _live_views(self) -> LiveViews:
        pairs = self.pairs
        return LiveViews(self._targets, pairs.augment, pairs.teacher_modality, pairs.student_modality)

    @cached_property
    def _stored_views(self) -> dict[str, Tensor]:
        """The teacher's targets for `transfer.views` augmented passes, computed once for all runs."""
        pairs, views = self.pairs.dataset, self.settings.transfer.views
        device = self.accelerator.device
        self.accelerator.print(f"computing the teacher's targets for {views} views")

        def batches() -> Iterable[Batch]:
            for start in range(0, len(pairs), 32):
                rows = range(start, min(start + 32, len(pairs)))
                yield {name: value.to(device) for name, value in pairs.__getitems__(rows).items()}

        with self.accelerator.autocast():
            return compute_views(self._live_views, batches, len(pairs), views=views, seed=self.pairs.seed)
