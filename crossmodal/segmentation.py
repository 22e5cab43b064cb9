"""RGB→depth and any other stored modalities: the student learns to segment from its own modality."""

import math
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from ..common import UserError
from ..data import PairedAugment, PairedTensors, Statistics, read_in_order, read_rows, select, subset
from ..deploy import describe_encoding
from ..engine import Accelerator, StageRunner, SupervisedTask, TrainConfig, digest, last_and_best, seeded
from ..evaluation import FEWEST_PAIRS, AlignmentEvaluator, SegmentationEvaluator
from ..models import PyramidSegmenter, Segmenter, create, has_classifier, open_weights
from ..pipelines import (
    DataSplits,
    Downstream,
    Outputs,
    Pipeline,
    RunResult,
    Stage,
    StudentRun,
    Supervision,
    Transferred,
    Workspace,
)
from ..transfer import Builder, Overrides, Teacher, TransferData, normalize_by, with_normalization
from .config import SegmentationConfig
from .samples import Samples

MEASURED = 10_000
"""Samples whose statistics stand for all."""


class SegmentationPipeline(Pipeline):
    """Teachers, transfer, segmentation, over one set of samples.

    Args:
        config: the run's settings.
        samples: the paired samples.
        accelerator: device, processes and precision.
        folder: the run folder; each stage has its own folder inside.
        overrides: networks, an optimizer and a schedule that replace the configured ones.
    """

    config: SegmentationConfig

    def __init__(
        self,
        config: SegmentationConfig,
        samples: Samples,
        accelerator: Accelerator,
        folder: str | Path,
        **overrides: Unpack[Overrides],
    ) -> None:
        if config.labeled_transfer and (samples.unlabeled is not None or not samples.is_labeled):
            raise UserError("--labeled-transfer reads pairs with labels alone, and these data have others")
        given = [t.modality for t in overrides.get("teachers", ()) if isinstance(t, Teacher)]
        modalities = tuple(dict.fromkeys((*(given or config.teacher.modality), config.student_modality)))
        pairs = samples.pairs(*modalities)
        fingerprint = {
            "data": asdict(replace(config.data, root=None, cache=None)),
            "data_digest": samples.digest,
        }
        stages = StageRunner(folder, accelerator, reuse=config.reuse, fingerprint=fingerprint)
        measured = stages.keep(
            "statistics",
            {"modalities": modalities},
            lambda: _statistics(pairs, config.transfer.train.num_workers),
        )
        augment = config.data.augment
        first = read_rows(pairs, [0])
        labels = None
        if config.labeled_transfer:
            pairs = select(samples.train, *modalities, "label")
            labels = _label_maps(samples.train, config.transfer.train.num_workers)
        data = TransferData(
            pairs,
            PairedAugment(augment.without_depth_noise()),
            config.student_modality,
            Statistics.from_dict(measured),
            {name: (first[name].shape[-2], first[name].shape[-1]) for name in modalities},
            PairedAugment(augment.depth_noise_only()),
            labels,
            samples.group,
        )
        self.samples, self.pairs = samples, samples.pairs(*modalities)
        super().__init__(SegmentationBuilder(config, data, overrides, samples.num_classes), stages)
        self.class_names = samples.class_names

    def reading(self) -> dict[str, Any]:
        """As the files of the student's modality are read."""
        encoding = self.samples.encodings.get(self.config.student_modality)
        return {} if encoding is None else {"encoding": describe_encoding(encoding)}

    @property
    def held_out(self) -> Any | None:
        """The student's modality in the test split."""
        test = self.samples.test
        return None if test is None else select(test, self.config.student_modality)

    def supervise(self, modality: str) -> Supervision:
        """Return the label maps of the training split.

        Raises:
            UserError: there are none.
        """
        if not self.samples.is_labeled:
            raise UserError(
                "the data have no labels that a teacher could learn to segment from: give it weights and "
                "--teacher.no-labels"
            )
        return Supervision(
            select(self.samples.train, modality, "label"),
            PairedAugment(self.config.data.augment),
            self.evaluator(modality).summary(),
        )

    def evaluator(self, modality: str) -> SegmentationEvaluator:
        """Return the evaluator of segmenters of a modality on the test split."""
        return SegmentationEvaluator(
            self.samples.test,
            self.samples.num_classes,
            self.accelerator,
            modality=modality,
            num_workers=self.config.segment.train.num_workers,
        )

    @cached_property
    def aligner(self) -> AlignmentEvaluator | None:
        """Judges how well student and teachers agree on the test split, without labels."""
        held_out = self.samples.test
        if held_out is None or min(len(held_out), len(self.pairs)) < FEWEST_PAIRS:
            return None
        return AlignmentEvaluator(
            self.pairs,
            held_out,
            self.accelerator,
            modality=self.config.student_modality,
            num_workers=self.config.transfer.train.num_workers,
        )

    def data_splits(self) -> DataSplits:
        """Return the splits of the paired samples."""
        samples, config = self.samples, self.config
        splits = {"train": samples.train, "unlabeled": samples.unlabeled, "test": samples.test}
        return DataSplits(
            {name: split for name, split in splits.items() if split is not None},
            samples.num_classes,
            self.class_names,
            pixel_labels=samples.is_labeled,
            pairs=self.pairs,
            modalities=tuple(dict.fromkeys((*config.teacher.modality, config.student_modality))),
        )

    def teacher_metrics(self) -> list[dict[str, float]]:
        """pixel_accuracy, mean_iou and the best of each, for those that were trained."""
        histories = (self.teacher_histories.get(number) for number in range(len(self.config.teacher)))
        return [last_and_best(h, "pixel_accuracy", "mean_iou") if h else {} for h in histories]

    def downstream(self) -> tuple[Downstream, ...]:
        """Return the segmentation, if there are labels."""
        if not self.samples.is_labeled:
            return ()
        config, whole = self.config.segment, len(self.samples.train)
        labeled = self.samples.labeled_count(config.label_fraction)
        train = same_steps(config.train, labeled, whole)
        return (Downstream("segment", labeled, train, self.segment_stage),)

    def segment_stage(self, workspace: Workspace) -> Stage:
        """Build the training of the open student to segment its modality."""
        state, config, modality = workspace.student, self.config.segment, self.config.student_modality
        encoder, seed = state.network, state.run.seed
        fingerprint = {"segment": asdict(config), "student": digest(encoder.state_dict())}
        segmenter = self.make_segmenter(encoder, seed)
        labels, labeled = self.supervise(modality), self.samples.labeled(config.label_fraction, seed)
        return Stage(
            SupervisedTask(segmenter, labels.augment, modality=modality),
            select(labeled, modality, "label"),
            fingerprint=fingerprint,
            evaluate=labels.evaluate,
            finish=state.keep_output("segment", segmenter),
        )

    def make_segmenter(self, encoder: nn.Module, seed: int) -> Segmenter:
        """The encoder, kept and not copied, under a head whose weights `seed` alone decides."""
        with seeded(seed):
            segmenter = Segmenter(
                encoder.cpu(),
                self.samples.num_classes,
                hidden=self.config.segment.hidden,
                input_size=self.data.shape(self.config.student_modality),
            )
        return segmenter.to(memory_format=torch.channels_last)

    def evaluate(self, run: StudentRun, transferred: Transferred, outputs: Outputs) -> RunResult:
        """Return the metrics of the segmentation on the test split; without labels there are none."""
        if not self.samples.is_labeled:
            return RunResult(run.method, run.seed, {}, transferred.history, transferred.network)
        segmenter, history = outputs["segment"]
        segmenter.to(self.accelerator.device)
        metrics: dict[str, Any] = dict(last_and_best(history, "pixel_accuracy", "mean_iou"))
        evaluated = self.evaluator(self.config.student_modality)(segmenter)
        metrics["iou"] = evaluated["iou"]
        details = {"confusion": evaluated["confusion"]}
        return RunResult(run.method, run.seed, metrics, history, segmenter, details=details)


class SegmentationBuilder(Builder):
    """Builds teachers with a segmentation decoder if they learn from labels."""

    config: SegmentationConfig

    def __init__(
        self, config: SegmentationConfig, data: TransferData, overrides: Overrides, num_classes: int
    ) -> None:
        super().__init__(config, data, overrides)
        self.num_classes = num_classes

    def teacher_network(self, index: int) -> nn.Module:
        """Return a classifier, with a segmentation decoder if it learns from labels."""
        config, statistics = self.config.teacher, self.data.statistics
        spec = config.specs[index]
        weights = None if spec.weights is None else open_weights(spec.architecture, spec.weights)
        is_classifier = not config.labels and has_classifier(spec.architecture)
        network: nn.Module = create(
            spec.architecture,
            num_classes=config.classes if is_classifier else None,
            in_channels=len(statistics.mean[spec.modality]),
            weights=weights,
            new_head=config.labels,
            layers=spec.layers,
            bare=True,
        )
        if config.labels:
            shape = self.data.shape(spec.modality)
            network = PyramidSegmenter(network, self.num_classes, input_size=shape, width=config.width)
        chosen = normalize_by(
            spec.normalization, statistics, spec.modality, network=spec.architecture, weights=weights
        )
        return with_normalization(network, chosen, spec.modality)


def _label_maps(train: Any, num_workers: int) -> Tensor:
    """Return the label maps of a split, (M, H, W) uint8."""
    if isinstance(train, PairedTensors):
        return train.tensors["label"]
    batches = read_in_order(select(train, "label"), 256, num_workers=num_workers)
    return torch.cat([batch["label"].byte() for batch in batches])


def _statistics(pairs: Any, num_workers: int) -> dict[str, Any]:
    """Of every modality; of evenly spaced samples if there are very many."""
    if len(pairs) > MEASURED:
        step = len(pairs) / MEASURED
        pairs = subset(pairs, [int(i * step) for i in range(MEASURED)])
    return Statistics.measure(pairs, num_workers=num_workers).as_dict()


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
        checkpoint_every=None if config.checkpoint_every is None else config.checkpoint_every * factor,
    )
