"""What a person can set for a transfer, the same in every pipeline; imports no torch."""

import math
import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..common import UserError
from ..engine import RunConfig, TrainConfig, check_once, check_seeds

if TYPE_CHECKING:
    from ..distillers import Method

SLOW_STUDENTS = ("MobileNetV2", "ShuffleV1", "ShuffleV2")
"""Students that the published benchmark trains at a fifth of the others' learning rate."""


@dataclass(frozen=True)
class TeacherSpec:
    """One teacher, as it is configured."""

    architecture: str
    """Name that `crdkit.models.create` takes."""
    modality: str
    """Modality of its input."""
    weights: str | None
    """File or name of its weights; None for a random initialization."""
    normalization: str
    """Normalization of its input; see `TeachersConfig`."""
    layers: tuple[int | str, ...] | None
    """Indices or names of the layers whose maps it teaches; None for all."""

    @property
    def kind(self) -> "TeacherSpec":
        """The same for teachers that differ in their normalization or seed only: one is tried for all."""
        return replace(self, normalization="")


@dataclass(frozen=True)
class TeachersConfig:
    """Stage 1: one teacher or several, trained here or read from files.

    The lists are taken in turn: with `--teacher.number 4` and two architectures, teachers 0 and 2 have
    the first. Two teachers of two modalities are `--teacher.modality rgb depth --teacher.architecture
    resnet18 depth_cnn`.
    """

    modality: tuple[str, ...] = ("rgb",)
    """What each teacher sees."""
    architecture: tuple[str, ...] = ("resnet32x4",)
    """Any names that `crdkit.models.create` takes."""
    weights: tuple[str, ...] = ()
    """For each teacher a file with its weights (a published .pth, too; `FILE#model_ema` for one entry of it),
    torchvision's or timm's `imagenet`, or `none` to train it here; all are trained here if absent."""
    replace_classifier: bool = False
    """Weights may be of other classes than the data, or of none: each teacher gets a new last layer if they
    are, and is trained here from there on. Off: such weights are refused."""
    normalization: tuple[str, ...] = ("own",)
    """For each teacher the mean and deviation that its input is normalized with: `own` (those of its weights
    if the file, torchvision or timm says them, else `data`), `data` (measured on the training split),
    `imagenet`, `half` (0.5 and 0.5), `none`, or numbers: `0.5,0.4,0.4/0.2,0.2,0.2`."""
    layers: tuple[str, ...] = ("all",)
    """For each teacher the layers whose maps it teaches: numbers of its maps (-1 is the last, 5 of a vision
    transformer its sixth block) or names of layers, with commas between, such as `2,-1` or `blocks.8,norm`;
    or `all`."""
    number: int | None = None
    """Teachers; as many as the longest of the lists if absent."""
    differ_by: Literal["seed", "bootstrap", "snapshots"] = "seed"
    """`seed`: other first weights and another order · `bootstrap`: also a sample of the training data, drawn
    with replacement · `snapshots`: each goes on from the one before it, for as many epochs, at a learning
    rate that starts anew (Huang et al., 2017); for schedules that end near 0."""
    seed: int = 0
    """Of the first teacher's training; each has the next number. The teachers are the same for all runs."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimization of a teacher that is trained here."""

    def __post_init__(self) -> None:
        if not (self.modality and self.architecture and self.normalization and self.layers):
            raise UserError("teacher.modality, .architecture, .normalization and .layers need a name each")
        if self.number is not None and self.number < 1:
            raise UserError(f"teacher.number must be at least 1, got {self.number}")
        if self.replace_classifier and all(spec.weights is None for spec in self.specs):
            raise UserError("teacher.replace_classifier needs teacher.weights, whose last layer is replaced")
        check_seeds("teacher.seed", self.seed)
        if self.differ_by == "snapshots" and len({*self.architecture}) * len({*self.modality}) > 1:
            raise UserError(f"snapshots are of one architecture, got {', '.join(self.architecture)}")
        self._check_different()

    def __len__(self) -> int:
        """How many teachers there are."""
        return self.number or max(map(len, self._lists))

    @cached_property
    def specs(self) -> tuple[TeacherSpec, ...]:
        """The teachers one by one."""

        def spec(index: int) -> TeacherSpec:
            modality, architecture, normalization, layers = (
                values[index % len(values)]
                for values in (self.modality, self.architecture, self.normalization, self.layers)
            )
            weights = self.weights[index % len(self.weights)] if self.weights else "none"
            return TeacherSpec(
                architecture,
                modality,
                None if weights == "none" else weights,
                normalization,
                None if layers == "all" else tuple(map(_layer, layers.split(","))),
            )

        return tuple(map(spec, range(len(self))))

    def trains(self, index: int) -> bool:
        """Return whether a teacher is trained in the run: from scratch, or with a new last layer."""
        return self.specs[index].weights is None or self.replace_classifier

    @property
    def _lists(self) -> tuple[tuple[str, ...], ...]:
        return self.modality, self.architecture, self.weights, self.normalization, self.layers

    def _check_different(self) -> None:
        """Raise `UserError` if two teachers are the same pretrained network.

        The second would teach nothing new, and the mean of both would hide that.
        """
        first = dict[TeacherSpec, int]()
        for index, spec in enumerate(self.specs):
            if not self.trains(index) and first.setdefault(spec, index) != index:
                raise UserError(
                    f"teachers {first[spec]} and {index} are the same, {spec.architecture} with "
                    f"{spec.weights}: --teacher.number {index} takes those before it"
                )


def _layer(text: str) -> int | str:
    return int(text) if re.fullmatch(r"-?\d+", text) else text


@dataclass(frozen=True)
class TransferConfig:
    """Stage 2: from the teachers to the student."""

    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimization of the student and of what is trained along with it; the defaults are the published recipe
    of CIFAR-100."""
    cached_augmentations: int = 0
    """Augmentations of every sample that are drawn once: the teachers see each once, and all runs read their
    outputs from a cache. 0 draws anew in every step and runs the teachers there."""
    cache: Path | None = None
    """Folder of a cache on disk, that other runs may share; `cache` in the run folder if absent."""
    cache_on: Literal["auto", "device", "disk"] = "auto"
    """Where the cache is: in the device's memory, or mapped from disk; `auto`: on disk if `cache` is named or
    it is larger than `cache_limit`."""
    cache_limit: float = 4.0
    """GiB of the device's memory that a cache may take."""
    cache_dtype: Literal["float32", "float16"] = "float32"
    """How the teachers' outputs are kept; float16 holds 3 digits."""
    reduction: Literal["sum", "mean"] = "sum"
    """Of the terms of several teachers; the paper adds them up."""
    share_student: bool = False
    """One head and one memory of the student for all teachers of `crd`: nearly half the memory."""
    drop_teachers: float = 0.0
    """Of several teachers: the probability that one is left out of a sample's loss, but never the one that
    the student matches worst there (Sariyildiz et al., 2024: 0.5)."""
    compile_teachers: bool = False
    """Compile live teachers with `torch.compile`. Their outputs differ in the last bits, so results are
    comparable only with runs that have the same flag; `--dry-run` measures whether it saves time."""
    mix: Literal["none", "mixup", "cutmix"] = "none"
    """Mix images in pairs. Each is mixed with another of its batch by one draw for all networks: teachers
    and student answer for the mixed ones. Needs live teachers; what a method makes of it: docs/mixing.md."""
    mix_alpha: float = 1.0
    """α of the share λ ~ Beta(α, α): 1 is CutMix's published value and MixUp's for CIFAR, which has 0.2 for
    ImageNet."""
    ema: float | None = None
    """Decay of the student's average. The moving average of its weights over the steps (0.999 or so) is
    judged and kept beside the last ones (docs/mixing.md); if absent there is none."""

    def __post_init__(self) -> None:
        if self.ema is not None and not 0 < self.ema < 1:
            raise UserError(f"transfer.ema, the decay of an average, must be in (0, 1), got {self.ema}")
        if not (math.isfinite(self.mix_alpha) and self.mix_alpha > 0):
            raise UserError(f"transfer.mix_alpha must be positive, got {self.mix_alpha}")
        if self.compile_teachers and self.cached_augmentations:
            raise UserError(
                "transfer.compile_teachers has no effect with cached teacher outputs: set "
                f"--transfer.cached-augmentations 0, got {self.cached_augmentations}"
            )
        if self.mix != "none" and self.cached_augmentations:
            raise UserError(
                f"transfer.mix {self.mix} draws pairs anew in every step, and cached teachers cannot answer "
                f"for them: set --transfer.cached-augmentations 0, got {self.cached_augmentations}"
            )
        if self.cached_augmentations < 0:
            raise UserError(f"transfer.cached_augmentations must be ≥ 0, got {self.cached_augmentations}")
        if not self.cache_limit > 0:
            raise UserError(f"transfer.cache_limit must be positive, got {self.cache_limit}")
        if not 0 <= self.drop_teachers <= 1:
            raise UserError(f"transfer.drop_teachers must be in [0, 1], got {self.drop_teachers}")


@dataclass(frozen=True)
class PipelineConfig(RunConfig):
    """Settings that every pipeline has."""

    method: tuple[str, ...] = ("none", "kd", "crd", "crd+kd")
    """`none` (the student alone), a distiller, or a sum with optional factors such as `crd+0.5*kd`."""
    setting: tuple[str, ...] = ()
    """Settings of distillers, such as `kd.temperature=2` or `crd.num_negatives=4096`; those of a preset stay
    in force beside them."""
    student: str = "resnet8x4"
    """The student's architecture: any name that `crdkit.models.create` takes."""
    student_lr: float | None = None
    """Its learning rate; if absent that of transfer.train, and a fifth of it for MobileNetV2, ShuffleV1 and
    ShuffleV2, as published."""
    task_weight: float | None = None
    """Weight of the cross-entropy with labels, if the transfer sees them; if absent the published one: 1, for
    `kd` alone 0.1."""
    teacher: TeachersConfig = field(default_factory=TeachersConfig)
    """Stage 1."""
    transfer: TransferConfig = field(default_factory=TransferConfig)
    """Stage 2."""

    def __post_init__(self) -> None:
        for name in ("method", "seed"):
            if not getattr(self, name):
                raise UserError(f"name at least one {name}")
        check_once("method", self.method)
        check_seeds("seed", *self.seed)
        if self.student_lr is not None and not self.student_lr > 0:
            raise UserError(f"student_lr must be positive, got {self.student_lr}")
        if self.task_weight is not None and not self.task_weight >= 0:
            raise UserError(f"task_weight must not be negative, got {self.task_weight}")

    @cached_property
    def methods(self) -> "dict[str, Method]":
        """The methods by the text as typed, with their settings."""
        from ..distillers import parse_methods

        return {method.name: method for method in parse_methods(self.method, self.setting)}

    def parse(self, method: str) -> "Method":
        """Return a method by its text, also one that is not in the run, with the settings of the run."""
        from ..distillers import parse_methods

        return self.methods[method] if method in self.methods else parse_methods([method], self.setting)[0]

    @property
    def lr(self) -> float:
        """The student's learning rate."""
        if self.student_lr is not None:
            return self.student_lr
        return self.transfer.train.lr / (5 if self.student in SLOW_STUDENTS else 1)
