"""RGB→depth and any other stored modalities: the student learns to segment from its own modality."""

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import nn

from ..data import PairedAugment, Statistics
from ..engine import Accelerator, StageRunner, SupervisedTask, TrainConfig, digest, last_and_best, seeded
from ..evaluation import SegmentationEvaluator
from ..models import PyramidSegmenter, Segmenter, create, has_classifier
from ..transfer import (
    Own,
    Pipeline,
    RunResult,
    Supervision,
    TransferData,
    Transferred,
    normalize_by,
    with_normalization,
)
from .config import SegmentationConfig
from .samples import Samples


class SegmentationPipeline(Pipeline):
    """Teachers, transfer, segmentation, over one set of samples.

    Args:
        config: the run's settings.
        samples: the paired samples.
        accelerator: device, processes and precision.
        folder: the run folder; each stage has its own folder inside.
        own: networks and an optimization of one's own.
    """

    config: SegmentationConfig

    def __init__(
        self,
        config: SegmentationConfig,
        samples: Samples,
        accelerator: Accelerator,
        folder: Path,
        **own: Unpack[Own],
    ) -> None:
        fingerprint = {
            "data": asdict(replace(config.data, root=None)), "data_digest": digest(samples.train.tensors)
        }  # fmt: skip
        stages = StageRunner(folder, accelerator, reuse=config.reuse, fingerprint=fingerprint)
        measured = stages.keep("statistics", {}, lambda: Statistics.measure(samples.train).as_dict())
        augment = config.data.augment
        labels = samples.train.tensors["label"] if config.labeled_transfer else None
        seen = [name for name in samples.train.tensors if name != "label" or labels is not None]
        data = TransferData(
            samples.train.select(*seen), PairedAugment(augment.without_depth_noise()),
            config.student_modality, Statistics.from_dict(measured), config.data.size,
            PairedAugment(augment.depth_noise_only()), labels,
        )  # fmt: skip
        super().__init__(config, data, stages, **own)
        self.samples = samples

    def build_teacher(self, number: int) -> nn.Module:
        """A classifier, with a segmentation decoder if it learns from labels."""
        config, modality = self.config.teacher, self.config.teacher.modality_of(number)
        name, weights = config.architecture_of(number), config.weights_of(number)
        classes = None if config.labels or not has_classifier(name) else config.classes
        network: nn.Module = create(
            name, num_classes=classes, in_channels=len(self.data.statistics.mean[modality]), weights=weights,
            new_head=config.labels, layers=config.layers_of(number),
        )  # fmt: skip
        if config.labels:
            network = PyramidSegmenter(
                network, self.samples.num_classes, input_size=self.data.shape(modality), width=config.width
            )
        statistics = normalize_by(
            config.normalization_of(number), self.data.statistics, modality, network=name, weights=weights
        )
        return with_normalization(network, statistics, modality)

    def trains_teacher(self, number: int) -> bool:
        """If it sees labels, whatever its first weights."""
        return self.config.teacher.labels

    def supervise(self, modality: str) -> Supervision:
        """The label maps of the training split."""
        return Supervision(
            self.samples.train.select(modality, "label"), PairedAugment(self.config.data.augment),
            self.evaluator(modality).summary(),
        )  # fmt: skip

    def evaluator(self, modality: str) -> SegmentationEvaluator:
        """Judges segmenters of a modality on the test split."""
        return SegmentationEvaluator(
            self.samples.test, self.samples.num_classes, self.accelerator, modality=modality
        )

    def teacher_metrics(self) -> list[dict[str, float]]:
        """pixel_accuracy, mean_iou and the best of each, for those that were trained."""
        histories = (self.teacher_histories.get(number) for number in range(len(self.config.teacher)))
        return [last_and_best(h, "pixel_accuracy", "mean_iou") if h else {} for h in histories]

    def judge(self, method: str, seed: int, transferred: Transferred) -> RunResult:
        """Stage 3: the student learns to segment from its own modality and is tested on the test split."""
        config, modality, encoder = self.config.segment, self.config.student_modality, transferred.network
        fingerprint = {"segment": asdict(config), "student": digest(encoder.state_dict())}
        with seeded(seed):
            segmenter = Segmenter(
                encoder.cpu(), self.samples.num_classes, input_size=self.data.shape(modality),
                hidden=config.hidden,
            )  # fmt: skip
        segmenter.to(memory_format=torch.channels_last)
        labels = self.supervise(modality)
        labeled = self.samples.labeled(config.label_fraction, seed)
        history = self.stages.train(
            f"runs/{method}/seed-{seed}/segment",
            SupervisedTask(segmenter, labels.augment, modality=modality), labeled.select(modality, "label"),
            same_steps(config.train, len(labeled), len(self.samples.train)), seed, evaluate=labels.evaluate,
            fingerprint=fingerprint,
        )  # fmt: skip
        segmenter.to(self.accelerator.device)
        metrics: dict[str, Any] = dict(last_and_best(history, "pixel_accuracy", "mean_iou"))
        metrics["iou"] = self.evaluator(modality)(segmenter)["iou"]
        return RunResult(method, seed, metrics, history, segmenter)


def same_steps(config: TrainConfig, labeled: int, whole: int) -> TrainConfig:
    """The configuration with as many epochs over `labeled` samples as give about the steps that its own
    epochs give over `whole`; whatever is counted in epochs is stretched alike."""
    factor = math.ceil(whole / config.batch_size) / math.ceil(labeled / config.batch_size)
    if factor == 1:
        return config
    return replace(
        config, epochs=round(config.epochs * factor), warmup_epochs=config.warmup_epochs * factor,
        milestones=tuple(milestone * factor for milestone in config.milestones),
        evaluate_every=max(1, round(config.evaluate_every * factor)),
        checkpoint_every=config.checkpoint_every * factor,
    )  # fmt: skip
