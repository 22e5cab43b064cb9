"""Settings of the paired samples that a run reads; imports no torch."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..common import UserError
from ..data import AugmentConfig, DataError, check_shares

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
