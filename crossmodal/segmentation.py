"""RGB→depth and any other pair of stored views: the student learns to segment from its own view."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..data import AugmentConfig, PairedAugment
from ..engine import Accelerator, TrainConfig, digest, last_and_best, seeded
from ..evaluation import SegmentationMetrics, segment
from ..models import Normalized, Segmenter
from .config import SegmentationConfig
from .networks import make_student, make_teacher
from .protocol import Pairs, Protocol, RunResult
from .samples import Samples
from .tasks import SegmentTask


class SegmentationProtocol(Protocol):
    """Teacher, transfer, segmentation, over one set of samples.

    Args:
        config: the run's settings.
        samples: the paired samples.
        accelerator: device, processes and precision.
        folder: the run folder; each stage has its own folder inside.
    """

    def __init__(
        self, config: SegmentationConfig, samples: Samples, accelerator: Accelerator, folder: Path
    ) -> None:
        data = config.data
        pairs = Pairs(
            samples.train.select(data.teacher_modality, data.student_modality),
            PairedAugment(shared(data.augment)),
            PairedAugment(disturbance(data.augment)),
            data.teacher_modality,
            data.student_modality,
            samples.statistics,
            data.size,
            seed=config.teacher.seed,
        )
        facts = {"data": asdict(replace(data, root=None)), "data_digest": digest(samples.train.tensors)}
        super().__init__(config, pairs, accelerator, folder, facts=facts)
        self.config, self.samples = config, samples
        self.fused = config.teacher.labels
        self.teacher_history: list[dict[str, Any]] = []

    @cached_property
    def teacher(self) -> Normalized:
        """Stage 1: the teacher, trained on its view's labels or taken as its weights are."""
        config, data = self.config.teacher, self.config.data
        with seeded(config.seed):
            teacher = make_teacher(config, data, self.samples.statistics, self.samples.num_classes)
        if config.labels:
            task = SegmentTask(teacher, PairedAugment(data.augment), data.teacher_modality)
            self.teacher_history = self.stages.train(
                "teacher", task, self.samples.train.select(data.teacher_modality, "label"), config.train,
                config.seed, evaluate=self._tester(data.teacher_modality),
                facts={
                    "teacher": asdict(replace(config, weights=None)),
                    "initial": digest(teacher.state_dict()),
                },
            )  # fmt: skip
        return teacher.to(self.accelerator.device)

    def teacher_metrics(self) -> dict[str, float] | None:
        """pixel_accuracy, mean_iou and the best of each."""
        names = ("pixel_accuracy", "mean_iou")
        return last_and_best(self.teacher_history, *names) if self.teacher_history else None

    def make_student(self) -> Normalized:
        """The depth CNN."""
        return make_student(self.config.student, self.config.data, self.samples.statistics)

    @property
    def student_facts(self) -> Any:
        """Its widths and strides."""
        return asdict(self.config.student)

    def judge(self, method: str, seed: int, student: Normalized) -> RunResult:
        """Stage 3: the student learns to segment from its own view and is tested on the test split."""
        config, data = self.config.segment, self.config.data
        facts = {"segment": asdict(config), "student": digest(student.state_dict())}
        with seeded(seed):
            channels = len(self.samples.statistics.mean[data.student_modality])
            segmenter = Segmenter(
                student.cpu(),
                self.samples.num_classes,
                input_size=(channels, *data.size),
                hidden=config.hidden,
            )
        segmenter.to(memory_format=torch.channels_last)
        labeled = self.samples.labeled(config.label_fraction, seed)
        history = self.stages.train(
            f"runs/{method}/seed-{seed}/segment",
            SegmentTask(segmenter, PairedAugment(data.augment), data.student_modality),
            labeled.select(data.student_modality, "label"),
            same_steps(config.train, len(labeled), len(self.samples.train)),
            seed,
            evaluate=self._tester(data.student_modality),
            facts=facts,
        )
        metrics: dict[str, Any] = dict(last_and_best(history, "pixel_accuracy", "mean_iou"))
        segmenter.to(self.accelerator.device)
        metrics["iou"] = self.test(segmenter, data.student_modality)["iou"]
        return RunResult(method, seed, metrics, history, segmenter)

    @torch.no_grad()
    def test(self, network: nn.Module, view: str) -> SegmentationMetrics:
        """The metrics of a segmenter over the whole test split."""
        network.eval()

        def predict(images: Tensor) -> Tensor:
            with self.accelerator.autocast():
                return network(images).logits.float()

        return segment(
            predict,
            self.samples.test,
            self.samples.num_classes,
            modality=view,
            device=self.accelerator.device,
        )

    def _tester(self, view: str) -> Callable[[nn.Module], dict[str, float]]:
        def evaluate(module: nn.Module) -> dict[str, float]:
            metrics = self.test(module, view)
            return {name: metrics[name] for name in ("pixel_accuracy", "mean_iou")}

        return evaluate


def shared(config: AugmentConfig) -> AugmentConfig:
    """What both sides of a transfer undergo together: geometry, and the color of RGB. It may be cached."""
    return replace(config, depth_scale=0.0, depth_dropout=0.0)


def disturbance(config: AugmentConfig) -> AugmentConfig:
    """What the student's depth undergoes on top, anew at every step."""
    return replace(
        AugmentConfig.none(),
        depth_scale=config.depth_scale,
        depth_dropout=config.depth_dropout,
        depth_block=config.depth_block,
    )


def same_steps(config: TrainConfig, labeled: int, whole: int) -> TrainConfig:
    """The configuration with as many epochs over `labeled` samples as give about the steps that its own
    epochs give over `whole`; whatever is counted in epochs is stretched alike."""
    factor = math.ceil(whole / config.batch_size) / math.ceil(labeled / config.batch_size)
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
