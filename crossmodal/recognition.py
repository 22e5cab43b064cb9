"""L→ab and any other pair of modalities of one image: probes of every layer, then fine-tuning."""

from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import nn

from ..common import UserError
from ..data import CHANNELS, ChannelDataset, ChannelModalities, ImageSplits, Statistics
from ..engine import Accelerator, StageRunner, SupervisedTask, digest, last_and_best
from ..evaluation import (
    FEWEST_PAIRS,
    AlignmentEvaluator,
    Evaluator,
    Features,
    Layer,
    extract_layers,
    knn_accuracy,
    layers_of,
    probe_features,
)
from ..models import attach_classifier, measure
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
    fingerprint_of,
    stage_folder,
)
from ..transfer import Builder, Overrides, TransferData
from .config import RecognitionConfig


class RecognitionPipeline(Pipeline):
    """Teachers, transfer on unlabeled images, probes and fine-tuning, over one set of images.

    Args:
        config: the run's settings.
        images: the labeled splits, and the images without labels that the transfer reads.
        accelerator: device, processes and precision.
        folder: the run folder; each stage has its own folder inside.
        overrides: networks, an optimizer and a schedule that replace the configured ones.
    """

    config: RecognitionConfig

    def __init__(
        self,
        config: RecognitionConfig,
        images: ImageSplits,
        accelerator: Accelerator,
        folder: str | Path,
        **overrides: Unpack[Overrides],
    ) -> None:
        if images.unlabeled is None:
            raise UserError("the transfer reads images.unlabeled: load_splits(…, unlabeled=True)")
        modalities = tuple(dict.fromkeys((*config.teacher.modality, config.student_modality)))
        self.train, self.test = (ChannelDataset(split, modalities) for split in (images.plain, images.test))
        content = getattr(images.unlabeled, "tensors", {})  # of images on disk their number has to do
        fingerprint = {
            **fingerprint_of(config.data, images),
            "unlabeled": len(images.unlabeled),
            "unlabeled_digest": digest(content),
        }
        stages = StageRunner(folder, accelerator, reuse=config.reuse, fingerprint=fingerprint)
        num_workers = config.transfer.train.num_workers
        measured = stages.keep(
            "statistics",
            {"modalities": modalities},
            lambda: Statistics.measure(self.train, num_workers=num_workers).as_dict(),
        )
        height, width = self.train[0][config.student_modality].shape[-2:]
        data = TransferData(
            images.unlabeled,
            nn.Sequential(images.augment, ChannelModalities(*modalities)),
            config.student_modality,
            Statistics.from_dict(measured),
            (height, width),
        )
        super().__init__(Builder(config, data, overrides, teacher_classes=images.num_classes), stages)
        self.images, self.class_names = images, images.class_names
        self.embeddings: dict[tuple[str, int], Features] = {}
        """Of the test split, by method and seed."""

    def reading(self) -> dict[str, Any]:
        """As the images' files are read; L, ab and gray are made of their color."""
        sees = self.config.student_modality
        made = {"made_of": "rgb"} if sees in CHANNELS and sees != "rgb" else {}
        return {**self.images.reading, **made}

    @property
    def held_out(self) -> Any:
        """The test split."""
        return self.test

    def supervise(self, modality: str) -> Supervision:
        """The labels of the training split."""
        return Supervision(self.images.train, self.data.augment, self.evaluator(modality).top1())

    def evaluator(self, modality: str) -> Evaluator:
        """Return the evaluator of classifiers of a modality on the test split."""
        return Evaluator(
            self.test,
            self.images.num_classes,
            self.accelerator,
            modality=modality,
            num_workers=self.config.finetune.num_workers,
        )

    @cached_property
    def aligner(self) -> AlignmentEvaluator | None:
        """The regression is fitted on the training split; the pairs held out are those of the test split."""
        if min(len(self.train), len(self.test)) < FEWEST_PAIRS:
            return None
        return AlignmentEvaluator(
            self.train,
            self.test,
            self.accelerator,
            modality=self.config.student_modality,
            num_workers=self.config.transfer.train.num_workers,
        )

    def data_splits(self) -> DataSplits:
        """Return the labeled splits, and the images without labels if they are others."""
        images = self.images
        splits = {"train": images.plain, "test": images.test}
        first, second = (getattr(d, "tensors", {}).get("rgb") for d in (images.plain, images.unlabeled))
        is_shared = images.unlabeled is images.plain or (first is not None and first is second)
        if not is_shared:
            splits["unlabeled"] = images.unlabeled
        return DataSplits(splits, images.num_classes, self.class_names, pixel_labels=False)

    def teacher_metrics(self) -> list[dict[str, float]]:
        """top1 and best_top1 of every teacher, the same figure for one read from a file."""
        metrics = []
        for index, teacher in enumerate(self.teachers):
            history = self.teacher_histories.get(index)
            if not history:
                history = [self.evaluator(teacher.modality).top1()(teacher.network)]
            metrics.append(last_and_best(history, "top1"))
        return metrics

    def downstream(self) -> tuple[Downstream, ...]:
        """Return the fine-tuning; probes are no training by steps."""
        return (Downstream("finetune", len(self.images.train), self.config.finetune, self.finetune_stage),)

    def finetune_stage(self, workspace: Workspace) -> Stage:
        """Build the training of the open student under a new linear classifier."""
        state, modality = workspace.student, self.config.student_modality
        student, shape = state.network, self.data.shape(modality)
        fingerprint = {"finetune": asdict(self.config.finetune), "student": digest(student.state_dict())}
        network = attach_classifier(student, self.images.num_classes, shape, seed=state.run.seed)
        network.to(memory_format=torch.channels_last)
        labels = self.supervise(modality)
        return Stage(
            SupervisedTask(network, labels.augment, modality=modality),
            labels.dataset,
            fingerprint=fingerprint,
            evaluate=labels.evaluate,
            finish=state.keep_output("finetune", network),
        )

    def evaluate(self, run: StudentRun, transferred: Transferred, outputs: Outputs) -> RunResult:
        """Return the accuracy of the fine-tuned student."""
        network, history = outputs["finetune"]
        metrics = {f"finetune_{name}": value for name, value in last_and_best(history, "top1").items()}
        return RunResult(run.method, run.seed, metrics, history, network.to(self.accelerator.device))

    def evaluate_frozen(self, run: StudentRun, student: nn.Module) -> dict[str, float]:
        """Return the accuracy of probes of every map, `probe_1` of the stem, and `knn` of the embedding."""
        config, modality = self.config.probe, self.config.student_modality
        student.to(self.accelerator.device)
        maps = measure(student, self.data.shape(modality)).maps

        def compute() -> dict[str, float]:
            layers = [*layers_of(maps, config.dimension), Layer()]
            train, test = (self._features(student, split, layers) for split in (self.train, self.test))
            self.embeddings[run.method, run.seed] = test[-1]
            folds = getattr(self.images.train, "folds", ()) if config.folds else ()
            device = self.accelerator.device
            metrics = {}
            for number, (known, unknown) in enumerate(zip(train[:-1], test[:-1], strict=True), start=1):
                found = probe_features(known, unknown, fit=config.fit, folds=folds, device=device)
                metrics[f"probe_{number}"] = found.top1
            neighbors = min(config.neighbors, len(train[-1].label))
            metrics["knn"] = knn_accuracy(train[-1], test[-1], neighbors=neighbors)
            return metrics

        fingerprint = {"probe": asdict(config), "modality": modality, "student": digest(student.state_dict())}
        metrics = self.stages.keep(stage_folder(run, "probe"), fingerprint, compute)
        if (run.method, run.seed) not in self.embeddings:
            (self.embeddings[run.method, run.seed],) = self._features(student, self.test, [Layer()])
        return metrics

    def _features(self, student: nn.Module, split: Any, layers: list[Layer]) -> list[Features]:
        with self.accelerator.autocast():
            return extract_layers(
                student,
                split,
                layers,
                modality=self.config.student_modality,
                device=self.accelerator.device,
                num_workers=self.config.finetune.num_workers,
            )
