"""What the pipelines over labeled images share: networks, tasks, and what the teachers see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data import Batch, ImagesConfig, ImageSplits, Normalize, Statistics
from ..distillers import Pair, Term
from ..models import Normalized, create, measure, save_weights
from .config import DistilConfig
from .loop import Evaluate
from .stages import StageRunner, digest
from .task import Task
from .transfer import TransferTask


def make_classifier(name: str, images: ImageSplits, weights: str | None = None) -> Normalized:
    """A classifier of the images' classes by its name, behind their normalization, its weights fresh or read.

    Args:
        name, weights: as for `crdkit.models.create`, whose errors it raises.
        images: what it is to tell apart.
    """
    return behind(create(name, num_classes=images.num_classes, weights=weights), images.statistics, "rgb")


def behind(network: nn.Module, statistics: Statistics, modality: str) -> Normalized:
    """A network behind the normalization of its modality, in the memory format that suits convolutions."""
    # Channels last halves the time of a step on a CPU.
    return Normalized(Normalize(statistics, modality), network).to(memory_format=torch.channels_last)


def make_pair(student: nn.Module, teacher: nn.Module, images: ImageSplits) -> Pair:
    """What a term is built for: the sizes of both networks, measured, and the training images."""
    size = tuple(images.train[0]["rgb"].shape)
    return Pair(
        student=measure(student, size),
        teacher=measure(teacher, size),
        num_samples=len(images.train),
        labels=images.train.labels,
        teacher_classifier=classifier_of(teacher),
    )


def classifier_of(network: nn.Module) -> nn.Linear | None:
    """A network's last linear layer, which makes logits of the embedding."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    return layers[-1] if layers else None


def facts_of(config: ImagesConfig, images: ImageSplits) -> dict[str, Any]:
    """The images as a stage knows them: their settings without the place, and a digest of what is there."""
    return {"data": asdict(replace(config, root=None)), "data_digest": digest(images.content())}


def distil(
    stages: StageRunner,
    folder: str,
    student: nn.Module,
    terms: Mapping[str, Term],
    modalities: nn.Module,
    images: ImageSplits,
    config: DistilConfig,
    seed: int,
    *,
    teacher: nn.Module | None,
    evaluate: Evaluate,
    facts: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Teach a classifier by the terms of a method, in `folder` of the run; returns its history.

    The training is the stage `distil`; the weights are `student.safetensors`. The cross-entropy has the
    configuration's weight, or the smallest that one of the methods was published with.

    Args:
        student: `Outputs` with logits of the images' classes; left on the device.
        modalities: batch -> (images, targets), as for `TransferTask`.
        teacher: what `modalities` runs, kept from training.
        stages, evaluate, facts: as for `StageRunner.train`, whose errors it raises.
    """
    published = min((term.task_weight for term in terms.values()), default=1.0)
    task = TransferTask(
        student, terms, modalities,
        task_weight=published if config.task_weight is None else config.task_weight,
        frozen=() if teacher is None else (teacher,),
    )  # fmt: skip
    history = stages.train(
        f"{folder}/distil", task, images.train, replace(config.train, lr=config.lr),
        seed, evaluate=evaluate, facts=facts,
    )  # fmt: skip
    student.to(stages.accelerator.device)
    if stages.accelerator.is_main_process:
        save_weights(student, stages.folder / folder / "student.safetensors")
    return history


class ClassifyTask(Task):
    """Cross-entropy with the labels: the training of a teacher.

    Args:
        network: (B, 3, H, W) in [0, 1] -> `Outputs` with logits (B, C).
        augment: batch -> batch.
        modality: name of the entry that the network takes.
        label_smoothing: share of the target spread over all classes.
    """

    def __init__(
        self, network: nn.Module, augment: nn.Module, *, modality: str = "rgb", label_smoothing: float = 0.0
    ) -> None:
        self.module = network
        self.augment = augment
        self.modality = modality
        self.label_smoothing = label_smoothing
        self.weights = {"task": 1.0}

    def terms(self, module: nn.Module, batch: Batch) -> tuple[dict[str, Tensor], Any]:
        logits = module(augmented(batch, self.augment, self.modality)).logits.float()
        return {"task": F.cross_entropy(logits, batch["label"], label_smoothing=self.label_smoothing)}, None


class TaughtViews(nn.Module):
    """Augments a batch and lets the teacher see what the student sees.

    Args:
        augment: batch -> batch.
        teacher: frozen; one returns `Outputs`, several together a tuple of them. None where nobody asks.
    """

    def __init__(self, augment: nn.Module, teacher: nn.Module | None) -> None:
        super().__init__()
        self.augment = augment
        self.teacher = teacher

    @torch.no_grad()
    def forward(self, batch: Batch) -> tuple[Tensor, Any]:
        images = augmented(batch, self.augment)
        return images, None if self.teacher is None else self.teacher(images)


def augmented(batch: Batch, augment: nn.Module, modality: str = "rgb") -> Tensor:
    """A batch's modality after `augment`, (B, C, H, W), in fp32: coordinates in bf16 would move pixels."""
    with torch.autocast(batch["index"].device.type, enabled=False):
        images: Tensor = augment(batch)[modality]
    return images
