"""What a person can set for images; imports no torch, so that a command prints its help at once."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

from ..common import UserError
from .errors import DataError

ImageSource: TypeAlias = Literal[
    "digits", "shapes", "cifar10", "cifar100", "stl10", "tiny-imagenet", "folder", "packed"
]


def check_range(name: str, value: tuple[float, float], *, below: float = float("inf")) -> None:
    """Raise `ValueError` unless two rising positive numbers, at most `below`."""
    low, high = value
    if not 0 < low <= high <= below:
        limit = "" if below == float("inf") else f", at most {below:g}"
        raise UserError(f"{name} must be two rising positive numbers{limit}, got {value}")


def check_shares(**values: float) -> None:
    """Raise `ValueError` for one that is not between 0 and 1."""
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise UserError(f"{name} must be between 0 and 1, got {value}")


@dataclass(frozen=True)
class RandomImageConfig:
    """Strengths of what any augmentation of RGB images does: a crop, a flip, color."""

    crop_scale: tuple[float, float] = (0.35, 1.0)
    """Area of the crop, as a share of the image's."""
    crop_ratio: tuple[float, float] = (0.75, 4 / 3)
    """Aspect of the crop, relative to the image's own."""
    flip: float = 0.5
    """Probability of mirroring left and right."""
    brightness: float = 0.4
    """RGB: the factor is within 1 ± this."""
    contrast: float = 0.4
    """RGB: the factor is within 1 ± this, about the image's mean luma."""
    saturation: float = 0.4
    """RGB: the factor is within 1 ± this."""
    hue: float = 0.1
    """RGB: the turn is within ± this part of a full circle."""
    jitter: float = 0.8
    """RGB: probability of the four above."""
    grayscale: float = 0.1
    """RGB: probability of losing all color."""

    def __post_init__(self) -> None:
        check_range("crop_scale", self.crop_scale, below=1.0)
        check_range("crop_ratio", self.crop_ratio)
        shares = ("flip", "brightness", "contrast", "saturation", "jitter", "grayscale")
        check_shares(**{name: getattr(self, name) for name in shares})
        if not 0 <= self.hue <= 0.5:
            raise UserError(f"hue must be between 0 and 0.5, got {self.hue}")


@dataclass(frozen=True)
class AugmentConfig(RandomImageConfig):
    """Strengths of the augmentation of paired modalities. `AugmentConfig.none()` changes nothing."""

    crop_scale: tuple[float, float] = (0.4, 1.0)
    """Area of the crop, as a share of the image's."""
    crop_ratio: tuple[float, float] = (0.8, 1.25)
    """Aspect of the crop, relative to the image's own."""
    depth_scale: float = 0.05
    """Depth: readings are multiplied by one factor an image within 1 ± this (a camera's calibration)."""
    depth_dropout: float = 0.05
    """Depth: share of the readings lost, in blocks, drawn for each block."""
    depth_block: int = 8
    """Depth: side of a lost block in pixels."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_shares(depth_dropout=self.depth_dropout)
        if not 0 <= self.depth_scale < 1:
            raise UserError(f"depth_scale must be at least 0 and below 1, got {self.depth_scale}")
        if self.depth_block < 1:
            raise UserError(f"depth_block must be at least 1, got {self.depth_block}")

    @classmethod
    def none(cls) -> "AugmentConfig":
        """Every strength at zero."""
        return cls(
            crop_scale=(1.0, 1.0),
            crop_ratio=(1.0, 1.0),
            flip=0.0,
            jitter=0.0,
            grayscale=0.0,
            depth_scale=0.0,
            depth_dropout=0.0,
        )

    def without_depth_noise(self) -> "AugmentConfig":
        """What both sides of a transfer undergo together: geometry, and the color of RGB. It may be
        cached."""
        return replace(self, depth_scale=0.0, depth_dropout=0.0)

    def depth_noise_only(self) -> "AugmentConfig":
        """What the depth undergoes on top, anew in every step."""
        kept = {name: getattr(self, name) for name in ("depth_scale", "depth_dropout", "depth_block")}
        return replace(AugmentConfig.none(), **kept)

    @property
    def moves(self) -> bool:
        """Whether pixels change place."""
        return self.crop_scale != (1.0, 1.0) or self.crop_ratio != (1.0, 1.0) or self.flip > 0


@dataclass(frozen=True)
class ImageAugmentConfig(RandomImageConfig):
    """Strengths of the augmentation of images for classification."""

    crop: str = "resized"
    """`resized`: a box of random area and aspect, as on ImageNet; `padded`: a shift, as on CIFAR."""
    padding: int = 4
    """`padded`: largest shift in pixels along each axis; zeros come in."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crop not in ("resized", "padded"):
            raise UserError(f"crop must be 'resized' or 'padded', got {self.crop!r}")
        if self.padding < 0:
            raise UserError(f"padding must not be negative, got {self.padding}")

    @classmethod
    def cifar(cls) -> "ImageAugmentConfig":
        """The published CIFAR pipeline: a crop of the image padded by 4 black pixels, and a flip."""
        return cls(crop="padded", padding=4, flip=0.5, jitter=0.0, grayscale=0.0)


@dataclass(frozen=True)
class ImagesConfig:
    """Labeled images, in a training and a test split."""

    source: ImageSource = "digits"
    """`digits`: scikit-learn's, embedded · `shapes`: colored ones, drawn · `cifar10`, `cifar100`: the
    official archives in ROOT · `stl10`: ROOT/stl10_binary, or the archive, which is unpacked there ·
    `tiny-imagenet`: its folder or zip · `folder`: ROOT/train and ROOT/val with a folder per class (ImageNet,
    too) · `packed`: an HDF5 file with a group per split."""
    root: Path | None = None
    """Where the data lie; not used by `digits` and `shapes`."""
    download: bool = False
    """Fetch the archive of `cifar10`, `cifar100` or `stl10` if it is not in ROOT."""
    size: int | None = None
    """Side of the square; the stored size where absent (digits and shapes: 32, folder: 224)."""
    classes: int | None = None
    """Only the first so many classes; all where absent."""
    mean: tuple[float, float, float] | None = None
    """Of each channel, for the normalization; measured on the training split where absent."""
    std: tuple[float, float, float] | None = None
    """Likewise."""
    augment: ImageAugmentConfig = field(default_factory=ImageAugmentConfig.cifar)
    """Augmentation of the training images; the default is the published one of CIFAR. `folder` has
    ImageNet's instead, a random resized crop and a flip, in the loader's workers."""

    def __post_init__(self) -> None:
        if (self.mean is None) != (self.std is None):
            raise UserError("mean and std go together: give both or none")

    def require_root(self) -> None:
        """Raise `DataError` if the source needs files, and `root` is not given or not there."""
        if self.source in ("digits", "shapes"):
            return
        if self.root is None:
            kind = "file" if self.source == "packed" else "folder"
            raise DataError(f"--data.root is missing: the {kind} of the source {self.source!r}")
        if not (self.root.exists() or self.download):
            raise DataError(f"--data.root {self.root} does not exist")

    @classmethod
    def cifar100(cls) -> "ImagesConfig":
        """CIFAR-100 with the published normalization, which published checkpoints need."""
        return cls(source="cifar100", mean=(0.5071, 0.4867, 0.4408), std=(0.2675, 0.2565, 0.2761))
