"""What a person can set for a cross-modal run, one frozen dataclass for each stage; imports no torch."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..common import UserError
from ..data import AugmentConfig, DataError, ImagesConfig, check_shares
from ..engine import TrainConfig
from ..transfer import PipelineConfig, TeachersConfig

NYU_HELP = (
    "put nyu_depth_v2_labeled.mat and splits.mat there "
    "(from https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html; classMapping40.mat and "
    "class13Mapping.mat for the class maps), or name a packed .h5 file"
)
OWN_HELP = (
    "put train/, test/ and unlabeled/ there, those that you have, each with a folder per modality and, if "
    "there are labels, label/; or name a .csv or .jsonl file of paths"
)


@dataclass(frozen=True)
class DataConfig:
    """The paired samples: several modalities of every scene and, for the last stage, its label map."""

    source: Literal["synthetic", "nyu", "folder"] = "synthetic"
    """`synthetic`: rendered rooms · `nyu`: NYU-Depth-v2, the official folder or a packed .h5 · `folder`: your
    own files, see `root`."""
    root: Path | None = None
    """Where the data lie; not used by `synthetic`. Of `folder`: a folder with `train`, `test` and
    `unlabeled`, those that there are, each with a sub-folder per modality and matching names; or a folder
    with the sub-folders alone, which is split by `group`; or a .csv or .jsonl file with a column of paths
    per modality and the columns `split` and `group`. Labels, in the sub-folder or column `label`, are needed
    to train and to judge segmentation; without them the run ends after the transfer."""
    size: tuple[int, int] = (96, 128)
    """Height and width that modalities and label maps are resized to, pixels."""
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Another size for some of them, such as `--data.size.rgb 224 224` for a teacher that wants it."""
    classes: int = 13
    """Classes of the label maps: 13 or 40 for `nyu`, your own count for `folder`."""
    files: tuple[str, ...] = ()
    """Of `folder`: where a modality's files are if not in the folder of its name: NAME=FOLDER, or
    NAME=PATTERN, a regular expression over the paths in it whose groups are the key that pairs the files:
    `rgb=cam/(\\d+)_c\\.png`."""
    encoding: tuple[str, ...] = ()
    """How a modality's numbers are meant, if the guess, which is printed, is wrong: `depth.unit=mm
    thermal.unit=raw thermal.channel=3 label.values=0,255` (docs/data.md)."""
    depth_scale: float | None = None
    """Meters per stored unit of depth images: short for `depth.unit=scale depth.scale=…`."""
    match: Literal["name", "time"] = "name"
    """Of `folder`: files pair by equal names, or by the nearest of the times that their names are."""
    tolerance: float = 0.02
    """Seconds that the times of a pair may differ by."""
    group: str | None = None
    """Recording or scene of a sample: `parent`, the name of its folder, or a regular expression over its path
    with one group. Samples of one are no negatives of each other, and never on both sides of a split."""
    test_fraction: float = 0.2
    """Share of the groups that is held out if the data have no `test`."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Augmentation of the training samples, in all three stages."""
    memory: float = 0.25
    """Share of the machine's memory that decoded samples may take; beyond it they are read from `cache`, or
    decoded in every epoch by `transfer.train.num_workers` processes."""
    cache: Path | None = None
    """Folder where samples that do not fit in memory are kept decoded and resized."""
    train_samples: int = 400
    """Pairs rendered for training (`synthetic` only)."""
    test_samples: int = 200
    """Pairs rendered for testing (`synthetic` only)."""
    unlabeled_samples: int = 0
    """Pairs rendered for the transfer alone (`synthetic` only)."""
    seed: int = 0
    """Seed of the renderer, and of the groups that are held out."""

    def __post_init__(self) -> None:
        check_shares(test_fraction=self.test_fraction, memory=self.memory)
        if not self.tolerance > 0:
            raise UserError(f"data.tolerance must be positive, got {self.tolerance}")
        if self.depth_scale is not None and not self.depth_scale > 0:
            raise UserError(f"data.depth_scale must be positive, got {self.depth_scale}")

    def require_root(self) -> None:
        """Raise `DataError` if the source needs files, and `root` is not given or not there."""
        if self.source != "synthetic":
            self.find_root()

    def find_root(self) -> Path:
        """Where the files lie.

        Raises:
            DataError: `root` is not given, or not there; the message says what belongs there.
        """
        need = NYU_HELP if self.source == "nyu" else OWN_HELP
        if self.root is None:
            raise DataError(f"--data.root is missing: the source {self.source!r} reads your files; {need}")
        if not self.root.exists():
            raise DataError(f"--data.root {self.root} does not exist; {need}")
        return self.root

    def size_of(self, modality: str) -> tuple[int, int]:
        """Height and width of a modality, or of `label`."""
        return self.sizes.get(modality, self.size)


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
