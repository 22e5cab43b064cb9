"""What a person can set for a cross-modal run, one frozen dataclass for each stage."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..data import AugmentConfig, ImagesConfig
from ..engine import RunConfig, TrainConfig


@dataclass(frozen=True)
class DataConfig:
    """The paired samples: two views of every scene and, for the last stage, its label map."""

    source: Literal["synthetic", "nyu", "folder"] = "synthetic"
    """`synthetic`: rendered rooms · `nyu`: NYU-Depth-v2, the official folder or a packed .h5 ·
    `folder`: ROOT/train and ROOT/test, each with one sub-folder per modality and matching names."""
    root: Path | None = None
    """Where the data lie; not used by `synthetic`."""
    size: tuple[int, int] = (96, 128)
    """Height and width that every view is resized to, pixels."""
    classes: int = 13
    """Classes of the label maps: 13 or 40 for `nyu`, your own count for `folder`."""
    teacher_modality: str = "rgb"
    """The view that the teacher sees."""
    student_modality: str = "depth"
    """The view that the student sees."""
    depth_scale: float = 1.0
    """Metres per stored unit of a `folder` source's depth images: 0.001 for millimetres."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Augmentation of the training samples, in all three stages."""
    train_samples: int = 400
    """Pairs rendered for training (`synthetic` only)."""
    test_samples: int = 200
    """Pairs rendered for testing (`synthetic` only)."""
    seed: int = 0
    """Seed of the renderer (`synthetic` only)."""


@dataclass(frozen=True)
class TeacherConfig:
    """Stage 1: the network of the first modality (RGB)."""

    architecture: str = "resnet18"
    """Any name that `crdkit.models.create` takes."""
    weights: str | None = None
    """`imagenet`, a local .safetensors or .pth file of the classifier, or nothing."""
    labels: bool = True
    """Train the teacher to segment its own modality first. Off: its classifier is used as it is
    (the paper's case), and `weights` are required."""
    classes: int = 1000
    """Classes that its classifier has, or has in the weights' file."""
    width: int = 128
    """Channels of the segmentation decoder."""
    seed: int = 0
    """Seed of its training and of the cached views; the teacher is the same for all runs."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimization of the teacher, where it is trained."""


@dataclass(frozen=True)
class TransferConfig:
    """Stage 2: teacher to student on paired samples, without labels."""

    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimization of the student and of the critic heads."""
    views: int = 0
    """Augmented views per sample for which the teacher's targets are computed once and reused;
    0 runs the teacher at every step."""
    embed_dim: int = 128
    """Width of the critic's space."""
    temperature: float = 0.1
    """Temperature of the contrastive critics."""
    num_negatives: int = 512
    """Negatives drawn from the memory for `crd`; not used by `batch`."""
    momentum: float = 0.5
    """Momentum of the memory's rows, for `crd`."""
    objective: Literal["nce", "infonce"] = "nce"
    """Contrastive objective of `crd`, `crd-local` and `crd-dense`."""
    negatives: Literal["uniform", "shared", "all", "batch"] = "batch"
    """How `crd` chooses negatives."""
    global_queue_size: int = 0
    """Global vectors of earlier batches kept as negatives for `crd-local`; 0 for the batch alone."""
    queue_size: int = 512
    """Positions of earlier batches kept as negatives for `crd-dense`."""
    num_positions: int = 24
    """Positions of each image that serve as negatives for `crd-dense`; every position is an anchor."""
    kd_temperature: float = 1.0
    """Softening of the teacher's class distribution."""
    kd_weight: float = 1.0
    """Weight of `kd`."""
    at_weight: float = 1000.0
    """Weight of `at` (published: 1000)."""
    fitnet_weight: float = 100.0
    """Weight of `fitnet` (published: 100)."""
    crd_weight: float = 1.0
    """Weight of `crd`, `crd-local` and `crd-dense` alike."""


@dataclass(frozen=True)
class SegmentConfig:
    """Stage 3: the student learns to segment from its own modality, then is tested."""

    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimization. `epochs` counts passes over the WHOLE training set: with fewer labels the number
    of steps stays the same."""
    hidden: int | None = None
    """Width of a 3x3 layer in the segmentation head; without it the head is linear."""
    label_fraction: float = 1.0
    """Share of the training labels that this stage may see, drawn by the run's seed."""


@dataclass(frozen=True)
class StudentConfig:
    """The network of the second modality (depth)."""

    widths: tuple[int, ...] = (32, 64, 128, 256, 256)
    """Channels of its convolutions."""
    strides: tuple[int, ...] = (2, 2, 2, 1, 1)
    """Their strides."""


@dataclass(frozen=True)
class CrossModalConfig(RunConfig):
    """Settings of every cross-modal scenario."""

    method: tuple[str, ...] = ("none", "kd", "at", "fitnet", "crd", "crd-local", "crd-dense", "crd-dense+kd")
    """What carries the knowledge over: none, kd, at, fitnet, crd, crd-local, crd-dense, or sums with
    optional weights, such as `crd-dense+kd` or `crd-dense+0.5*kd`."""
    transfer: TransferConfig = field(default_factory=TransferConfig)
    """Stage 2."""

    def __post_init__(self) -> None:
        if not self.method or not self.seed:
            raise ValueError("name at least one method and one seed")
        if self.transfer.views < 0:
            raise ValueError(f"transfer.views must be 0 or more, got {self.transfer.views}")


@dataclass(frozen=True)
class SegmentationConfig(CrossModalConfig):
    """Representation transfer from RGB to depth, then segmentation from depth alone."""

    data: DataConfig = field(default_factory=DataConfig)
    """The paired samples."""
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    """Stage 1."""
    student: StudentConfig = field(default_factory=StudentConfig)
    """The student network."""
    segment: SegmentConfig = field(default_factory=SegmentConfig)
    """Stage 3."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.segment.label_fraction <= 1.0:
            raise ValueError(f"segment.label_fraction must be in (0, 1], got {self.segment.label_fraction}")
        if not self.teacher.labels and self.teacher.weights is None:
            raise ValueError(
                "a teacher without labels needs weights: --teacher.weights imagenet or a local file"
            )


@dataclass(frozen=True)
class RecognitionTeacherConfig:
    """Stage 1: a classifier of the first view."""

    architecture: str = "alexnet_small"
    """Any name that `crdkit.models.create` takes."""
    weights: str | None = None
    """A file of its weights; trained on the labeled split where absent."""
    seed: int = 0
    """Seed of its training; the teacher is the same for all runs."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimization, where it is trained."""


@dataclass(frozen=True)
class ProbeConfig:
    """Stage 3, first half: linear probes on the frozen features of every layer."""

    fit: Literal["logistic", "sgd"] = "logistic"
    """scikit-learn's logistic regression, or SGD on the device for large sets."""
    dimension: int = 1024
    """Every map is averaged over the finest grid that leaves at most so many numbers."""
    folds: bool = True
    """Where the data have predefined training folds: a probe for each; their mean counts."""
    neighbors: int = 20
    """Training images that vote in the nearest-neighbor accuracy of the embedding."""


@dataclass(frozen=True)
class RecognitionConfig(CrossModalConfig):
    """Transfer between two views of unlabeled images, then probes and fine-tuning of the student."""

    method: tuple[str, ...] = ("none", "kd", "at", "fitnet", "crd", "crd+kd")
    """What carries the knowledge over: none, kd, at, fitnet, crd, crd-local, crd-dense, or sums with
    optional weights, such as `crd+0.5*kd`."""
    data: ImagesConfig = field(default_factory=lambda: ImagesConfig(source="shapes"))
    """The images. The transfer reads the split without labels where there is one, else the training split
    without its labels."""
    views: str = "l:ab"
    """The teacher's view and the student's: l, ab, rgb, gray, or others that the data have."""
    reverse: bool = False
    """Swap the two: `l:ab` becomes ab→l."""
    teacher: RecognitionTeacherConfig = field(default_factory=RecognitionTeacherConfig)
    """Stage 1, on the labeled split."""
    student: str = "alexnet_small"
    """The student's architecture."""
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    """Stage 3, first half."""
    finetune: TrainConfig = field(default_factory=TrainConfig)
    """Stage 3, second half: the student and a new classifier, trained on the labeled split."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.probe.dimension < 1:
            raise ValueError(f"probe.dimension must be at least 1, got {self.probe.dimension}")
