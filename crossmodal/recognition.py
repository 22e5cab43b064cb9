"""L→ab and any other pair of views of one image: probes of every layer, then fine-tuning."""

from __future__ import annotations

from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..data import (
    ChannelDataset,
    ChannelModalities,
    Statistics,
    split_modalities,
)
from ..engine import Accelerator, ClassifyTask, Evaluate, behind, digest, facts_of, last_and_best, seeded
from ..evaluation import (
    Evaluator,
    Features,
    Layer,
    attach_classifier,
    extract_layers,
    knn_accuracy,
    layers_of,
    probe_features,
)
from ..models import Normalized, create, measure
from .config import RecognitionConfig
from .protocol import Pairs, Protocol, RunResult
from .samples import RecognitionImages


class RecognitionProtocol(Protocol):
    """Teacher, transfer on unlabeled images, probes and fine-tuning, over one set of images.

    Args:
        config: the run's settings.
        images: the labeled splits, and the images that the transfer reads.
        accelerator: device, processes and precision.
        folder: the run folder; each stage has its own folder inside.
    """

    def __init__(
        self,
        config: RecognitionConfig,
        images: RecognitionImages,
        accelerator: Accelerator,
        folder: Path,
    ) -> None:
        views = split_modalities(config.views)
        teacher_modality, student_modality = views[::-1] if config.reverse else views
        self.train, self.test = (
            ChannelDataset(split, (teacher_modality, student_modality))
            for split in (images.plain, images.splits.test)
        )
        size = tuple(self.train[0][student_modality].shape[-2:])
        pairs = Pairs(
            images.unlabeled,
            nn.Sequential(images.splits.augment, ChannelModalities(teacher_modality, student_modality)),
            None,
            teacher_modality,
            student_modality,
            Statistics.measure(self.train),
            (size[0], size[1]),
            seed=config.teacher.seed,
        )
        content = getattr(images.unlabeled, "views", {})  # of images on disk their number has to do
        facts = {
            **facts_of(config.data, images.splits),
            "unlabeled": len(images.unlabeled),
            "unlabeled_digest": digest(content),
        }
        super().__init__(config, pairs, accelerator, folder, facts=facts)
        self.config, self.images = config, images.splits
        self.embeddings: dict[tuple[str, int], Features] = {}
        """Of the test split, by method and seed."""
        self.teacher_history: list[dict[str, Any]] = []

    @cached_property
    def teacher(self) -> Normalized:
        """Stage 1: the teacher, trained on the labeled split or read from its file."""
        config, view = self.config.teacher, self.pairs.teacher_modality
        with seeded(config.seed):
            teacher = self._network(config.architecture, view, self.images.num_classes, config.weights)
        evaluate = self._top1(view)
        if config.weights is None:
            self.teacher_history = self.stages.train(
                "teacher", ClassifyTask(teacher, self.pairs.augment, modality=view), self.images.train,
                config.train, config.seed, evaluate=evaluate,
                facts={"architecture": config.architecture, "view": view},
            )  # fmt: skip
        teacher.to(self.accelerator.device)
        if config.weights is not None:
            self.teacher_history = [evaluate(teacher)]
        return teacher

    def teacher_metrics(self) -> dict[str, float] | None:
        """top1 and best_top1, alike for a teacher read from a file; None where no method has a teacher."""
        return last_and_best(self.teacher_history, "top1") if self.teacher_history else None

    def make_student(self) -> Normalized:
        """The student's encoder, without a classifier."""
        return self._network(self.config.student, self.pairs.student_modality, None)

    @property
    def student_facts(self) -> Any:
        """Its name and its view."""
        return {"architecture": self.config.student, "view": self.pairs.student_modality}

    def judge(self, method: str, seed: int, student: Normalized) -> RunResult:
        """Stage 3: probes of every layer of the frozen student, then fine-tuning."""
        metrics = self.probe(method, seed, student)
        network, history = self.finetune(method, seed, student)
        tuned = {f"finetune_{name}": value for name, value in last_and_best(history, "top1").items()}
        return RunResult(method, seed, metrics | tuned, history, network)

    def probe(self, method: str, seed: int, student: Normalized) -> dict[str, float]:
        """`probe_1`, `probe_2`, … of the maps from the stem on, and `knn` of the embedding."""
        config, view = self.config.probe, self.pairs.student_modality
        student.to(self.accelerator.device)
        maps = measure(student, self.pairs.shape(view)).maps

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
            metrics["knn"] = knn_accuracy(train[-1], test[-1], neighbors=neighbors, device=device)
            return metrics

        facts = {"probe": asdict(config), "view": view, "student": digest(student.state_dict())}
        metrics = self.stages.keep(f"runs/{method}/seed-{seed}/probe", facts, compute)
        if (method, seed) not in self.embeddings:
            (self.embeddings[method, seed],) = self._features(student, self.test, [Layer()])
        return metrics

    def _features(self, student: nn.Module, split: Any, layers: list[Layer]) -> list[Features]:
        with self.accelerator.autocast():
            return extract_layers(
                student, split, layers, modality=self.pairs.student_modality, device=self.accelerator.device
            )

    def finetune(self, method: str, seed: int, student: Normalized) -> tuple[nn.Module, list[dict[str, Any]]]:
        """The student under a new linear classifier, all of it trained on the labeled split."""
        view = self.pairs.student_modality
        facts = {"finetune": asdict(self.config.finetune), "student": digest(student.state_dict())}
        network = attach_classifier(student, self.images.num_classes, self.pairs.shape(view), seed=seed)
        network.to(memory_format=torch.channels_last)
        history = self.stages.train(
            f"runs/{method}/seed-{seed}/finetune", ClassifyTask(network, self.pairs.augment, modality=view),
            self.images.train, self.config.finetune, seed, evaluate=self._top1(view), facts=facts,
        )  # fmt: skip
        return network.to(self.accelerator.device), history

    def _network(
        self, name: str, view: str, num_classes: int | None, weights: str | None = None
    ) -> Normalized:
        statistics = self.pairs.statistics
        network = create(
            name, num_classes=num_classes, in_channels=len(statistics.mean[view]), weights=weights
        )
        return behind(network, statistics, view)

    def _top1(self, view: str) -> Evaluate:
        return Evaluator(self.test, self.images.num_classes, self.accelerator, modality=view).top1()
