"""What a person can set for a compression run, one frozen dataclass for each stage."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..engine import DistilConfig, TrainConfig


@dataclass(frozen=True)
class TeacherConfig:
    """Stage 1: the teacher, trained here or read from a file."""

    architecture: str = "resnet32x4"
    """Any name that `crdkit.models.create` takes."""
    weights: str | None = None
    """A file with its weights (a published .pth, too), or torchvision's `imagenet`; trained where absent."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimization, where it is trained."""
    seed: int = 0
    """Of its training."""


@dataclass(frozen=True)
class CompressionConfig(DistilConfig):
    """Distil one teacher into a small student, with one method or several, beside each other."""

    method: tuple[str, ...] = ("none", "kd", "crd", "crd+kd")
    """`none` (the student alone), a distiller, or a sum with optional factors such as `crd+0.5*kd`."""
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    """Stage 1."""
    probe: tuple[Path, ...] = ()
    """Packed HDF5 files of other images, on which a linear probe judges every frozen student."""
    tsne: bool = False
    """Draw the students' test embeddings with t-SNE in the report."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.method:
            raise ValueError("name at least one method")
