"""What the pipelines over labelled images share: networks, tasks, and what the teachers see."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data import Batch, ImagesConfig, ImageSplits, Normalise, Statistics
from ..distillers import Pair
from ..models import Normalised, create, measure
from .stages import digest
from .task import Task


def make_classifier(name: str, images: ImageSplits, weights: str | None = None) -> Normalised:
    """A classifier of the images' classes by its name, behind their normalisation, its weights fresh or read.

    Args:
        name, weights: as for `crdkit.models.create`, whose errors it raises.
        images: what it is to tell apart.
    """
    return behind(create(name, num_classes=images.num_classes, weights=weights), images.statistics, "rgb")


def behind(network: nn.Module, statistics: Statistics, view: str) -> Normalised:
    """A network behind the normalisation of its view, in the memory format that suits convolutions."""
    # Channels last halves the time of a step on a CPU.
    return Normalised(Normalise(statistics, view), network).to(memory_format=torch.channels_last)


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


class ClassifyTask(Task):
    """Cross-entropy with the labels: the training of a teacher.

    Args:
        network: (B, 3, H, W) in [0, 1] -> `Outputs` with logits (B, C).
        augment: batch -> batch.
        view: name of the entry that the network takes.
        label_smoothing: share of the target spread over all classes.
    """

    def __init__(
        self, network: nn.Module, augment: nn.Module, *, view: str = "rgb", label_smoothing: float = 0.0
    ) -> None:
        self.module = network
        self.augment = augment
        self.view = view
        self.label_smoothing = label_smoothing
        self.weights = {"task": 1.0}

    def terms(self, module: nn.Module, batch: Batch) -> tuple[dict[str, Tensor], Any]:
        logits = module(augmented(batch, self.augment, self.view)).logits.float()
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


def augmented(batch: Batch, augment: nn.Module, view: str = "rgb") -> Tensor:
    """A view of the batch after `augment`, (B, C, H, W), in fp32: coordinates in bf16 would move pixels."""
    with torch.autocast(batch["index"].device.type, enabled=False):
        images: Tensor = augment(batch)[view]
    return images
