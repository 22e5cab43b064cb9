"""What a person can set for a cross-modal run, one frozen dataclass for each stage; imports no torch."""

from dataclasses import dataclass, field
from typing import Literal

from ..common import UserError
from ..data import ImagesConfig
from ..engine import TrainConfig
from ..recordings import DataConfig as DataConfig
from ..transfer import PipelineConfig, TeachersConfig


@dataclass(frozen=True)
class CrossModalConfig(PipelineConfig):
    """Settings of every cross-modal scenario."""

    student_modality: str = "depth"
    """What the student sees."""


@dataclass(frozen=True)
class SegmentersConfig(TeachersConfig):
    """Stage 1: networks of the first modality or modalities, which learn to segment them."""

    architecture: tuple[str, ...] = ("resnet18",)
    """Any names that `crdkit.models.create` takes."""
    labels: bool = True
    """Train each teacher to segment its own modality first, from its `weights` on if it has some. Off: its
    classifier is used as it is (the paper's case, and that of data without labels), and `weights` are
    required."""
    classes: int = 1000
    """Classes that a classifier has, or has in its weights' file."""
    width: int = 128
    """Channels of the segmentation decoder."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.replace_classifier:
            raise UserError("teacher.replace_classifier: a teacher that learns to segment has no classifier")
        if not self.labels and any(spec.weights is None for spec in self.specs):
            raise UserError("a teacher without labels needs weights: --teacher.weights imagenet or a file")

    def trains(self, index: int) -> bool:
        """Return whether the teachers learn from labels, from whatever weights."""
        return self.labels


@dataclass(frozen=True)
class SegmentConfig:
    """Stage 3: the student learns to segment from its own modality, then is tested."""

    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimization. `epochs` counts passes over the WHOLE training set: with fewer labels the number
    of steps stays the same."""
    hidden: int | None = None
    """Width of a 3x3 layer in the segmentation head; without it the head is linear."""
    label_fraction: float = 1.0
    """Fraction of the training labels that this stage may see, drawn by the run's seed."""

    def __post_init__(self) -> None:
        if not 0.0 < self.label_fraction <= 1.0:
            raise UserError(f"segment.label_fraction must be in (0, 1], got {self.label_fraction}")


@dataclass(frozen=True)
class SegmentationConfig(CrossModalConfig):
    """Representation transfer from RGB to depth, then segmentation from depth alone."""

    method: tuple[str, ...] = ("none", "kd", "at", "fitnet", "crd", "crd-local", "crd-dense", "crd-dense+kd")
    """What carries the knowledge over: `none`, any distiller (crd-dense, crd-local, crd, kd, fitnet, at, sp,
    rkd, pkt, vid, …), or sums with optional factors, such as `crd-dense+0.5*kd`. Those that read labels (dkd,
    kd-weighted) need `labeled_transfer`."""
    labeled_transfer: bool = False
    """Whether the transfer sees the label maps, for distillers that read them. The paper's does not."""
    data: DataConfig = field(default_factory=DataConfig)
    """The paired samples."""
    teacher: SegmentersConfig = field(default_factory=SegmentersConfig)
    """Stage 1."""
    student: str = "depth_cnn"
    """The student's architecture: any name that `crdkit.models.create` takes."""
    segment: SegmentConfig = field(default_factory=SegmentConfig)
    """Stage 3."""


@dataclass(frozen=True)
class ProbeConfig:
    """Stage 3, first half: linear probes on the frozen features of every layer."""

    fit: Literal["logistic", "sgd"] = "logistic"
    """scikit-learn's logistic regression, or SGD on the device for large sets."""
    dimension: int = 1024
    """Every map is averaged over the finest grid that leaves at most so many numbers."""
    folds: bool = True
    """If the data have predefined training folds: a probe for each; their mean counts."""
    neighbors: int = 20
    """Training images that vote in the nearest-neighbor accuracy of the embedding."""

    def __post_init__(self) -> None:
        if self.dimension < 1:
            raise UserError(f"probe.dimension must be at least 1, got {self.dimension}")


@dataclass(frozen=True)
class RecognitionConfig(CrossModalConfig):
    """Transfer between two modalities of unlabeled images, then probes and fine-tuning of the student."""

    method: tuple[str, ...] = ("none", "kd", "at", "fitnet", "crd", "crd+kd")
    """What carries the knowledge over: `none`, any distiller that reads no label, or sums with optional
    factors, such as `crd+0.5*kd`."""
    data: ImagesConfig = field(default_factory=lambda: ImagesConfig(source="shapes"))
    """The images. The transfer reads the split without labels if there is one, else the training split
    without its labels."""
    student_modality: str = "ab"
    """What the student sees: l, ab, rgb, gray, or another modality that the data have."""
    teacher: TeachersConfig = field(
        default_factory=lambda: TeachersConfig(modality=("l",), architecture=("alexnet_small",))
    )
    """Stage 1, on the labeled split."""
    student: str = "alexnet_small"
    """The student's architecture."""
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    """Stage 3, first half."""
    finetune: TrainConfig = field(default_factory=TrainConfig)
    """Stage 3, second half: the student and a new classifier, trained on the labeled split."""
