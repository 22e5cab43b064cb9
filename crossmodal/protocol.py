"""The protocol of a cross-modal run: teacher, transfer, segmentation; every stage resumable and reusable."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from ..data import AugmentConfig, Batch, PairedAugment
from ..engine import TrainConfig, train
from ..evaluation import segment
from ..models import Frozen, Normalised, Segmenter, load_weights, measure
from .config import CrossModalConfig
from .networks import TeacherTargets, make_student, make_teacher
from .samples import Samples
from .stages import Stage, open_stage
from .tasks import SegmentTask, TransferTask
from .terms import Shapes, build_terms, parse_method
from .views import CachedViews, LiveViews, Rows, compute_views, digest, load_views, save_views


@dataclass(frozen=True)
class MethodRun:
    """One method with one seed, done."""

    method: str
    seed: int
    metrics: dict[str, Any]
    history: list[dict[str, Any]]
    segmenter: nn.Module


class Protocol:
    """All stages of a configuration over one set of samples, in one run folder.

    Args:
        config: the run's settings; `output` is set.
        samples: the paired samples.
        accelerator: device, processes and precision.
    """

    def __init__(self, config: CrossModalConfig, samples: Samples, accelerator: Accelerator) -> None:
        assert config.output is not None
        for method in config.method:
            parse_method(method)
        self.config, self.samples, self.accelerator = config, samples, accelerator
        self.folder = config.output
        self.data_facts = {"data": _plain(asdict(config.data)), "samples": len(samples.train)}

    def runs(self) -> Iterator[MethodRun]:
        """Every method with every seed, as each is done."""
        teacher = self.teacher()
        for seed in self.config.seed:
            for method in self.config.method:
                student = self.transfer(method, seed, teacher)
                yield self.segment(method, seed, student)

    def teacher(self) -> Normalised:
        """Stage 1: the teacher, trained on its view's labels or taken as its weights are."""
        config, data = self.config.teacher, self.config.data
        with _seeded(TEACHER_SEED):
            network = make_teacher(config, self.samples.statistics, data.teacher_view, data.size, self.samples.num_classes)
        if config.labels:
            facts = {**self.data_facts, "teacher": _plain(asdict(config)), "initial": digest(network)}
            stage = self._stage("teacher", facts)
            task = SegmentTask(network, PairedAugment(), data.teacher_view)
            history = self._train(
                stage, task, self.samples.train, config.train, TEACHER_SEED, self._tester(data.teacher_view)
            )
            self.teacher_history = history
        return network

    def transfer(self, method: str, seed: int, teacher: Normalised) -> Normalised:
        """Stage 2: the student's encoder, taught by a method on the paired samples without labels."""
        config = self.config.transfer
        with _seeded(seed):
            student = make_student(self.config, self.samples.statistics)
            if not parse_method(method):
                return student
            shapes = self._shapes(student, teacher)
            terms = build_terms(method, shapes, config)
        targets = Frozen(self._targets(student, teacher))
        views: nn.Module
        dataset: Any
        if config.views:
            views, dataset = CachedViews(self._cached(targets)), Rows(len(self.samples.train))
        else:
            views, dataset = self._live(targets), self.samples.train.select(self.config.data.teacher_view, self.config.data.student_view)
        jitter = ViewJitter(self.config.data.student_view)
        task = TransferTask(student, terms, views.to(self.accelerator.device), jitter, teacher=None if config.views else targets)
        facts = {
            **self.data_facts,
            "teacher": digest(teacher),
            "student": _plain(asdict(self.config.student)),
            "transfer": _plain(asdict(config)),
            "method": method,
            "seed": seed,
        }
        self._train(self._stage(f"runs/{method}/seed-{seed}/transfer", facts), task, dataset, config.train, seed)
        return student

    def segment(self, method: str, seed: int, student: Normalised) -> MethodRun:
        """Stage 3: the student segments from its own view; tested on the test split."""
        config, data = self.config.segment, self.config.data
        initial = digest(student)
        with _seeded(seed):
            channels = len(self.samples.statistics.mean[data.student_view])
            segmenter = Segmenter(student, self.samples.num_classes, input_size=(channels, *data.size))
            segmenter = segmenter.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        labelled = self.samples.labelled(config.label_fraction, seed)
        optimisation = self._same_steps(config.train, len(labelled))
        facts = {**self.data_facts, "segment": _plain(asdict(config)), "student": initial, "seed": seed}
        stage = self._stage(f"runs/{method}/seed-{seed}/segment", facts)
        augment = PairedAugment(STUDENT_AUGMENT)
        task = SegmentTask(segmenter, augment, data.student_view)
        tester = self._tester(data.student_view)
        history = self._train(stage, task, labelled, optimisation, seed, tester)
        metrics = _last_and_best(history)
        metrics["iou"] = self._test(segmenter, data.student_view)["iou"]
        return MethodRun(method, seed, metrics, history, segmenter)

    def _same_steps(self, config: TrainConfig, labelled: int) -> TrainConfig:
        """The configuration with as many epochs over `labelled` samples as give the steps that its own
        epochs give over the whole training set."""
        whole = math.ceil(len(self.samples.train) / config.batch_size)
        part = math.ceil(labelled / config.batch_size)
        if part == whole:
            return config
        factor = whole / part
        return replace(
            config,
            epochs=max(1, round(config.epochs * factor)),
            warmup_epochs=config.warmup_epochs * factor,
            evaluate_every=max(1, round(config.evaluate_every * factor)),
            checkpoint_every=config.checkpoint_every * factor,
            milestones=tuple(m * factor for m in config.milestones),
        )
