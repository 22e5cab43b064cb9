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
from ..pipelines import Judging, Pipeline, RunResult, Supervision, Transferred, fingerprint_of
from ..transfer import Own, TransferData
from .config import RecognitionConfig


class RecognitionPipeline(Pipeline):
    """Teachers, transfer on unlabeled images, probes and fine-tuning, over one set of images.

    Args:
        config: the run's settings.
        images: the labeled splits, and the images without labels that the transfer reads.
        accelerator: device, processes and precision.
        folder: the run folder; each stage has its own folder inside.
        own: networks and an optimization of one's own.
    """

    config: RecognitionConfig

    def __init__(
        self,
        config: RecognitionConfig,
        images: ImageSplits,
        accelerator: Accelerator,
        folder: str | Path,
        **own: Unpack[Own],
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
        measured = stages.keep(
            "statistics", {"modalities": modalities}, lambda: Statistics.measure(self.train).as_dict()
        )
        height, width = self.train[0][config.student_modality].shape[-2:]
        data = TransferData(
            images.unlabeled,
            nn.Sequential(images.augment, ChannelModalities(*modalities)),
            config.student_modality,
            Statistics.from_dict(measured),
            (height, width),
        )
        super().__init__(config, data, stages, **own)
        self.images, self.class_names = images, images.class_names
        self.teacher_classes = self.images.num_classes
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
        """Judges classifiers of a modality on the test split."""
        return Evaluator(self.test, self.images.num_classes, self.accelerator, modality=modality)

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

    def teacher_metrics(self) -> list[dict[str, float]]:
        """top1 and best_top1, alike for a teacher read from a file; nothing if no method has a teacher."""
        if "teachers" not in self.__dict__:
            return []
        found = []
        for number, teacher in enumerate(self.teachers):
            history = self.teacher_histories.get(number)
            found.append(
                last_and_best(history or [self.evaluator(teacher.modality).top1()(teacher.network)], "top1")
            )
        return found

    def judging(self) -> dict[str, Judging]:
        """The fine-tuning; probes train nothing by steps."""
        modality = self.config.student_modality
        labels = self.supervise(modality)

        def make_task(student: nn.Module) -> SupervisedTask:
            shape = self.data.shape(modality)
            network = attach_classifier(student, self.images.num_classes, shape, seed=0)
            return SupervisedTask(network, labels.augment, modality=modality)

        return {"finetune": Judging(labels.dataset, self.config.finetune, make_task)}

    def judge(self, method: str, seed: int, transferred: Transferred) -> RunResult:
        """Stage 3: probes of every layer of the frozen student, then fine-tuning."""
        student = transferred.network
        metrics = self.probe(method, seed, student)
        network, history = self.finetune(method, seed, student)
        tuned = {f"finetune_{name}": value for name, value in last_and_best(history, "top1").items()}
        return RunResult(method, seed, metrics | tuned, history, network)

    def probe(self, method: str, seed: int, student: nn.Module) -> dict[str, float]:
        """`probe_1`, `probe_2`, … of the maps from the stem on, and `knn` of the embedding."""
        config, modality = self.config.probe, self.config.student_modality
        student.to(self.accelerator.device)
        maps = measure(student, self.data.shape(modality)).maps

        def compute() -> dict[str, float]:
            layers = [*layers_of(maps, config.dimension), Layer()]
            train, test = (self._features(student, split, layers) for split in (self.train, self.test))
            self.embeddings[method, seed] = test[-1]
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
        metrics = self.stages.keep(f"runs/{method}/seed-{seed}/probe", fingerprint, compute)
        if (method, seed) not in self.embeddings:
            (self.embeddings[method, seed],) = self._features(student, self.test, [Layer()])
        return metrics

    def finetune(self, method: str, seed: int, student: nn.Module) -> tuple[nn.Module, list[dict[str, Any]]]:
        """The student under a new linear classifier, all of it trained on the labeled split."""
        modality = self.config.student_modality
        fingerprint = {"finetune": asdict(self.config.finetune), "student": digest(student.state_dict())}
        network = attach_classifier(student, self.images.num_classes, self.data.shape(modality), seed=seed)
        network.to(memory_format=torch.channels_last)
        labels = self.supervise(modality)
        history = self.stages.train(
            f"runs/{method}/seed-{seed}/finetune",
            SupervisedTask(network, labels.augment, modality=modality),
            labels.dataset,
            self.config.finetune,
            seed,
            evaluate=labels.evaluate,
            fingerprint=fingerprint,
        )
        return network.to(self.accelerator.device), history

    def _features(self, student: nn.Module, split: Any, layers: list[Layer]) -> list[Features]:
        with self.accelerator.autocast():
            return extract_layers(
                student, split, layers, modality=self.config.student_modality, device=self.accelerator.device
            )
