"""What a person can set for a compression run, one frozen dataclass for each stage."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..data import ImagesConfig
from ..engine import TrainConfig, published_rate


@dataclass(frozen=True)
class TeacherConfig:
    """Stage 1: the teacher, trained here or read from a file."""

    architecture: str = "resnet32x4"
    """Any name that `crdkit.models.create` takes."""
    weights: str | None = None
    """A file with its weights (a published .pth, too), or torchvision's `imagenet`; trained where absent."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimisation, where it is trained."""
    seed: int = 0
    """Of its training."""


@dataclass(frozen=True)
class CompressionConfig:
    """Distil one teacher into a small student, with one method or several, beside each other."""

    method: tuple[str, ...] = ("none", "kd", "crd", "crd+kd")
    """`none` (the student alone), a distiller, or a sum with optional factors such as `crd+0.5*kd`."""
    setting: tuple[str, ...] = ()
    """Settings of distillers, such as `kd.temperature=2` or `crd.num_negatives=4096`."""
    seed: tuple[int, ...] = (0,)
    """One run for each method and seed; the teacher is shared."""
    output: Path | None = None
    """The run folder; without it a dated one under runs/ is made."""
    resume: bool = False
    """Continue the run in `output`; finished stages are kept."""
    reuse: tuple[Path, ...] = ()
    """Other run folders, whose finished stages are taken over where their settings are the same."""
    precision: Literal["no", "bf16", "fp16"] = "no"
    """Mixed precision of the networks; contrastive scores stay in fp32."""
    cpu: bool = False
    """Stay on the CPU even where there is a GPU."""
    trackers: tuple[str, ...] = ()
    """Trackers of accelerate, besides metrics.jsonl: tensorboard, wandb, …"""
    data: ImagesConfig = field(default_factory=ImagesConfig)
    """The images."""
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    """Stage 1."""
    student: str = "resnet8x4"
    """The student's architecture: any name that `crdkit.models.create` takes."""
    student_rate: float | None = None
    """Its learning rate; where absent train.learning_rate, and a fifth of that for MobileNetV2, ShuffleV1
    and ShuffleV2, as published."""
    task_weight: float | None = None
    """Weight of the cross-entropy; where absent the published one: 1, for `kd` alone 0.1."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Stage 2, the distillation. The defaults are the published recipe of CIFAR-100."""
    probe: tuple[Path, ...] = ()
    """Packed HDF5 files of other images, on which a linear probe judges every frozen student."""
    tsne: bool = False
    """Draw the students' test embeddings with t-SNE in the report."""

    def __post_init__(self) -> None:
        if not self.method or not self.seed:
            raise ValueError("name at least one method and one seed")
        if self.student_rate is not None and not self.student_rate > 0:
            raise ValueError(f"student_rate must be positive, got {self.student_rate}")
        if self.task_weight is not None and not self.task_weight >= 0:
            raise ValueError(f"task_weight must not be negative, got {self.task_weight}")

    @property
    def learning_rate(self) -> float:
        """The student's."""
        if self.student_rate is not None:
            return self.student_rate
        return published_rate(self.train, self.student)
