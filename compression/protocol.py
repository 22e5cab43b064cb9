"""The protocol of a compression run: a teacher, then every method with every seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..data import ImagesConfig, ImageSplits, load_splits
from ..distillers import METHODS, Initialize, build_terms, check_settings, parse_method, parse_settings
from ..engine import (
    Accelerator,
    ClassifyTask,
    StageRunner,
    TaughtViews,
    classifier_of,
    digest,
    distil,
    facts_of,
    last_and_best,
    make_classifier,
    make_pair,
    seeded,
)
from ..evaluation import ClassificationMetrics, Evaluator, extract, probe_logistic
from ..models import Frozen, Normalized, save_weights
from .config import CompressionConfig
from .tasks import PretrainTask


@dataclass(frozen=True)
class RunResult:
    """One method with one seed, done."""

    method: str
    seed: int
    metrics: dict[str, Any]
    """top1 of the last epoch, best_top1 of the best, and what `classify` finds beside the teacher."""
    history: list[dict[str, Any]]
    network: nn.Module
    """The student as it is deployed, with its normalization."""
    found: ClassificationMetrics
    """All that `classify` found, correlation matrices too."""


class Protocol:
    """All stages of a configuration over one set of images.

    Args:
        config: the run's settings.
        images: both splits and their statistics.
        accelerator: device, processes and precision.
        folder: the run folder; each stage has its own folder inside.
    """

    def __init__(
        self, config: CompressionConfig, images: ImageSplits, accelerator: Accelerator, folder: Path
    ) -> None:
        for method in config.method:
            parse_method(method, METHODS)
        self.settings = parse_settings(config.setting)
        check_settings(self.settings)
        self.config, self.images, self.accelerator = config, images, accelerator
        self.stages = StageRunner(
            folder,
            accelerator,
            reuse=config.reuse,
            facts=facts_of(config.data, images),
        )
        self.judge = Evaluator(images.test, images.num_classes, accelerator)
        with seeded(0):  # an unknown name is told before the teacher trains
            make_classifier(config.student, images)

    def runs(self) -> Iterator[RunResult]:
        """Every method with every seed, as each is done; the teacher first."""
        _ = self.teacher
        for seed in self.config.seed:
            for method in self.config.method:
                yield self.distil(method, seed)

    @cached_property
    def teacher(self) -> Normalized:
        """Stage 1: the teacher, trained on the labels or read from its file."""
        config = self.config.teacher
        with seeded(config.seed):
            teacher = make_classifier(config.architecture, self.images, weights=config.weights)
        if config.weights is None:
            self.stages.train(
                "teacher", ClassifyTask(teacher, self.images.augment), self.images.train, config.train,
                config.seed, evaluate=self.judge.top1(), facts={"architecture": config.architecture},
            )  # fmt: skip
        return teacher.to(self.accelerator.device)

    def distil(self, method: str, seed: int) -> RunResult:
        """Stage 2: the student, taught by a method; the same first weights for every method of a seed."""
        config, folder, teacher = self.config, f"runs/{method}/seed-{seed}", self.teacher
        with seeded(seed):
            student = make_classifier(config.student, self.images)
            terms = build_terms(method, make_pair(student, teacher, self.images), self.settings)
        facts = {
            "student": config.student,
            "method": method,
            "settings": {name: self.settings.get(name, {}) for name in terms},
            "teacher": digest(teacher.state_dict()) if terms else None,
        }
        frozen = Frozen(teacher) if terms else None
        taught = TaughtViews(self.images.augment, frozen)
        for name, term in terms.items():
            if term.initialize is not None:
                self._initialize(f"{folder}/initialize-{name}", student, term.initialize, taught, seed, facts)
        # AB and FSP end with their initialization: labels alone follow, without the teacher.
        kept = {name: term for name, term in terms.items() if term.weight}
        views = taught if kept else TaughtViews(self.images.augment, None)
        deploy = next((term.deploy for term in terms.values() if term.deploy), lambda network: network)
        history = distil(
            self.stages, folder, student, kept, views, self.images, config, seed, teacher=views.teacher,
            evaluate=self.judge.top1(lambda module: deploy(module.student)), facts=facts,
        )  # fmt: skip
        network = deploy(student).to(self.accelerator.device)
        if network is not student and self.accelerator.is_main_process:
            save_weights(network, self.stages.folder / folder / "deployed.safetensors")
        found = self.compare(network)
        scalars = {name: value for name, value in found.items() if not isinstance(value, Tensor)}
        metrics = {**last_and_best(history, "top1"), **scalars}
        return RunResult(method, seed, metrics | self.probe(network), history, network, found)

    def compare(self, network: nn.Module) -> ClassificationMetrics:
        """A network's metrics over the whole test split, beside the teacher."""
        return self.judge(network, teacher=self.teacher)

    def probe(self, network: nn.Module) -> dict[str, float]:
        """Top-1 of a linear probe on each other set of images, by `probe_` and the file's name."""
        found = {}
        for name, images in self._others.items():
            with self.accelerator.autocast():
                train, test = (
                    extract(network, split, modality="rgb", device=self.accelerator.device)
                    for split in (images.train, images.test)
                )
            found[f"probe_{name}"] = probe_logistic(train, test).top1
        return found

    @cached_property
    def _others(self) -> dict[str, ImageSplits]:
        side = self.images.train[0]["rgb"].shape[-1]
        sources = {
            path.stem: ImagesConfig(source="packed", root=path, size=side) for path in self.config.probe
        }
        device = self.accelerator.device
        return {name: load_splits(source, device, augment=False) for name, source in sources.items()}

    def _initialize(
        self,
        stage: str,
        student: Normalized,
        initialize: Initialize,
        views: TaughtViews,
        seed: int,
        facts: Mapping[str, Any],
    ) -> None:
        """The training that some methods put before the distillation, at a constant learning rate."""
        if not initialize.epochs:
            return
        rate = initialize.lr or self.config.lr
        train = replace(
            self.config.train, epochs=initialize.epochs, lr=rate, schedule="constant",
            warmup_epochs=0.0,
        )  # fmt: skip
        # The classifier takes no part: without a gradient DDP would wait for it, with one it would decay.
        classifier = classifier_of(student)
        for parameter in [] if classifier is None else classifier.parameters():
            parameter.requires_grad_(False)
        self.stages.train(
            stage, PretrainTask(student, initialize, views), self.images.train, train, seed, facts=facts
        )
        for parameter in [] if classifier is None else classifier.parameters():
            parameter.requires_grad_(True)
        initialize.finish()
