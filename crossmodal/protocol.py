"""The protocol of a cross-modal run: teacher, transfer, segmentation; every stage resumable and reusable."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from ..data import AugmentConfig, Batch, PairedAugment
from ..distillers import parse_method
from ..engine import Accelerator, Stages, TrainConfig, TransferTask, digest, last_and_best, seeded
from ..evaluation import SegmentationMetrics, segment
from ..models import Frozen, Normalised, Segmenter, measure
from .config import CrossModalConfig
from .networks import TeacherTargets, make_student, make_teacher
from .samples import Samples
from .tasks import SegmentTask
from .terms import TERMS, Shapes, build_terms
from .views import CachedViews, DisturbedViews, LiveViews, Rows, compute_views


@dataclass(frozen=True)
class MethodRun:
    """One method with one seed, done."""

    method: str
    seed: int
    metrics: dict[str, Any]
    """pixel_accuracy and mean_iou of the last epoch, best_… of the best, per-class iou; fractions of 1."""
    history: list[dict[str, Any]]
    """Of the segmentation stage."""
    segmenter: nn.Module


class Protocol:
    """All stages of a configuration over one set of samples.

    Args:
        config: the run's settings.
        samples: the paired samples.
        accelerator: device, processes and precision.
        folder: the run folder; each stage has its own folder inside.
    """

    def __init__(
        self, config: CrossModalConfig, samples: Samples, accelerator: Accelerator, folder: Path
    ) -> None:
        for method in config.method:
            parse_method(method, TERMS)
        self.config, self.samples, self.accelerator = config, samples, accelerator
        self.stages = Stages(
            folder,
            accelerator,
            reuse=config.reuse,
            facts={
                "data": asdict(replace(config.data, root=None)),
                "data_digest": digest(samples.train.views),
            },
        )
        self.teacher_history: list[dict[str, Any]] = []

    def runs(self) -> Iterator[MethodRun]:
        """Every method with every seed, as each is done; the teacher first, where a method has one."""
        if any(parse_method(method, TERMS) for method in self.config.method):
            _ = self.teacher
        for seed in self.config.seed:
            for method in self.config.method:
                yield self.segment(method, seed, self.transfer(method, seed))

    @cached_property
    def teacher(self) -> Normalised:
        """Stage 1: the teacher, trained on its view's labels or taken as its weights are."""
        config, data = self.config.teacher, self.config.data
        with seeded(config.seed):
            teacher = make_teacher(config, data, self.samples.statistics, self.samples.num_classes)
        if config.labels:
            task = SegmentTask(teacher, PairedAugment(data.augment), data.teacher_view)
            self.teacher_history = self.stages.train(
                "teacher", task, self.samples.train.select(data.teacher_view, "label"), config.train,
                config.seed, evaluate=self._tester(data.teacher_view),
                facts={
                    "teacher": asdict(replace(config, weights=None)),
                    "initial": digest(teacher.state_dict()),
                },
            )  # fmt: skip
        return teacher.to(self.accelerator.device)

    def transfer(self, method: str, seed: int) -> Normalised:
        """Stage 2: the student's encoder, taught by a method on the paired samples without their labels."""
        config, data = self.config.transfer, self.config.data
        teacher = (
            self.teacher if parse_method(method, TERMS) else None
        )  # its training may not come between the draws below
        with seeded(seed):
            student = make_student(self.config.student, data, self.samples.statistics)
            if teacher is None:
                return student
            terms = build_terms(method, self._shapes(student), config)
        dataset: Dataset[Any] = self.samples.train.select(data.teacher_view, data.student_view)
        views: nn.Module = self._live_views
        if config.views:
            dataset, views = Rows(len(self.samples.train)), CachedViews(lambda: self._stored_views)
        views = DisturbedViews(views, PairedAugment(disturbance(data.augment)), data.student_view)
        task = TransferTask(student, terms, views, frozen=(self._targets,))
        self.stages.train(
            f"runs/{method}/seed-{seed}/transfer", task, dataset, config.train, seed,
            facts={
                "transfer": asdict(config),
                "student": asdict(self.config.student),
                "method": method,
                "teacher": digest(teacher.state_dict()),
            },
        )  # fmt: skip
        return student

    def segment(self, method: str, seed: int, student: Normalised) -> MethodRun:
        """Stage 3: the student learns to segment from its own view and is tested on the test split."""
        config, data = self.config.segment, self.config.data
        facts = {"segment": asdict(config), "student": digest(student.state_dict())}
        with seeded(seed):
            channels = len(self.samples.statistics.mean[data.student_view])
            segmenter = Segmenter(
                student.cpu(),
                self.samples.num_classes,
                input_size=(channels, *data.size),
                hidden=config.hidden,
            )
        segmenter.to(memory_format=torch.channels_last)
        labelled = self.samples.labelled(config.label_fraction, seed)
        history = self.stages.train(
            f"runs/{method}/seed-{seed}/segment",
            SegmentTask(segmenter, PairedAugment(data.augment), data.student_view),
            labelled.select(data.student_view, "label"),
            same_steps(config.train, len(labelled), len(self.samples.train)),
            seed,
            evaluate=self._tester(data.student_view),
            facts=facts,
        )
        metrics: dict[str, Any] = dict(last_and_best(history, "pixel_accuracy", "mean_iou"))
        segmenter.to(self.accelerator.device)
        metrics["iou"] = self.test(segmenter, data.student_view)["iou"]
        return MethodRun(method, seed, metrics, history, segmenter)

    @torch.no_grad()
    def test(self, network: nn.Module, view: str) -> SegmentationMetrics:
        """The metrics of a segmenter over the whole test split."""
        network.eval()

        def predict(images: Tensor) -> Tensor:
            with self.accelerator.autocast():
                return network(images).logits.float()

        return segment(
            predict, self.samples.test, self.samples.num_classes, view=view, device=self.accelerator.device
        )

    def _tester(self, view: str) -> Callable[[nn.Module], dict[str, float]]:
        def evaluate(module: nn.Module) -> dict[str, float]:
            metrics = self.test(module, view)
            return {name: metrics[name] for name in ("pixel_accuracy", "mean_iou")}

        return evaluate

    def _shapes(self, student: nn.Module) -> Shapes:
        data, statistics = self.config.data, self.samples.statistics
        dimensions = measure(student, (len(statistics.mean[data.student_view]), *data.size))
        dry = torch.zeros(
            2, len(statistics.mean[data.teacher_view]), *data.size, device=self.accelerator.device
        )
        targets = {name: tuple(value.shape[1:]) for name, value in self._targets(dry).items()}
        return Shapes(
            student_maps=dimensions.maps,
            teacher_logits=targets["logits"],
            teacher_map=targets["map"],
            teacher_embedding=targets["embedding"][0],
            teacher_attention=tuple(shape for name, shape in targets.items() if name.startswith("attention")),
            num_samples=len(self.samples.train),
        )

    @cached_property
    def _targets(self) -> Frozen:
        """The frozen teacher, giving named targets on the student's grid."""
        data = self.config.data
        student = make_student(self.config.student, data, self.samples.statistics)
        channels = len(self.samples.statistics.mean[data.student_view])
        grid = measure(student, (channels, *data.size)).maps[-1][1]
        return Frozen(TeacherTargets(self.teacher, grid=grid, fused=self.config.teacher.labels))

    @cached_property
    def _live_views(self) -> LiveViews:
        data = self.config.data
        return LiveViews(
            self._targets, PairedAugment(shared(data.augment)), data.teacher_view, data.student_view
        )

    @cached_property
    def _stored_views(self) -> dict[str, Tensor]:
        """The teacher's targets for `transfer.views` augmented passes, computed once for all runs."""
        pairs = self.samples.train.select(self.config.data.teacher_view, self.config.data.student_view)
        device = self.accelerator.device
        self.accelerator.print(f"computing the teacher's targets for {self.config.transfer.views} views")

        def batches() -> Iterable[Batch]:
            for start in range(0, len(pairs), 32):
                rows = range(start, min(start + 32, len(pairs)))
                yield {name: value.to(device) for name, value in pairs.__getitems__(rows).items()}

        with self.accelerator.autocast():
            return compute_views(
                self._live_views,
                batches,
                len(pairs),
                views=self.config.transfer.views,
                seed=self.config.teacher.seed,
            )


def shared(config: AugmentConfig) -> AugmentConfig:
    """What both sides of a transfer undergo together: geometry, and the colour of RGB. It may be cached."""
    return replace(config, depth_scale=0.0, depth_dropout=0.0)


def disturbance(config: AugmentConfig) -> AugmentConfig:
    """What the student's depth undergoes on top, anew at every step."""
    return replace(
        AugmentConfig.none(),
        depth_scale=config.depth_scale,
        depth_dropout=config.depth_dropout,
        depth_block=config.depth_block,
    )


def same_steps(config: TrainConfig, labelled: int, whole: int) -> TrainConfig:
    """The configuration with as many epochs over `labelled` samples as give about the steps that its own
    epochs give over `whole`; whatever is counted in epochs is stretched alike."""
    factor = math.ceil(whole / config.batch_size) / math.ceil(labelled / config.batch_size)
    if factor == 1:
        return config
    return replace(
        config,
        epochs=round(config.epochs * factor),
        warmup_epochs=config.warmup_epochs * factor,
        milestones=tuple(milestone * factor for milestone in config.milestones),
        evaluate_every=max(1, round(config.evaluate_every * factor)),
        checkpoint_every=config.checkpoint_every * factor,
    )
