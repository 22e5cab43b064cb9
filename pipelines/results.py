"""What the stages of a pipeline hand on, and leave in the run folder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import nn

from ..common import UserError
from ..engine import Evaluate, WeightAverage, digest
from ..models import Description, bare_state, read_description, read_weights, save_weights
from ..transfer import STUDENT, Teacher, TransferConfig

Outputs = Mapping[str, tuple[nn.Module, list[dict[str, Any]]]]
"""Network and history of each training after the transfer, by its kind."""


@dataclass(frozen=True)
class RunResult:
    """A student that is trained and evaluated."""

    method: str
    seed: int
    metrics: dict[str, Any]
    """Fractions of 1: of the last epoch, best_… of the best, and what the judge adds; of a transfer without
    labels `alignment/…`, `alignment_before/…` and `TERM/…` of the critics."""
    history: list[dict[str, Any]]
    """Of the training whose accuracy the metrics tell."""
    network: nn.Module
    """The student as it is used, with its normalization, on the device."""
    teachers: tuple[int, ...] = ()
    """The numbers of the teachers that it learned from."""
    subset_seed: int | None = None
    """Of the draw of the teachers from a pool."""
    details: dict[str, Any] = field(default_factory=dict)
    """What a report draws, such as matrices."""


class Supervision(NamedTuple):
    """Labels to train a network of one modality with."""

    dataset: Any
    augment: nn.Module
    evaluate: Evaluate | None


class DataSplits(NamedTuple):
    """The data sets of a run, for whoever looks at them before it."""

    splits: Mapping[str, Any]
    """`train`, `unlabeled` and `test`, those that there are."""
    num_classes: int
    """Number of classes of the labels."""
    class_names: tuple[str, ...]
    """Names of the classes; empty if unknown."""
    pixel_labels: bool
    """Whether labels are maps of pixels; else each sample has one class."""
    pairs: Any | None = None
    """Paired samples of the transfer; None for single images."""
    modalities: tuple[str, ...] = ()
    """Modalities of the pairs that networks take as input."""


class Transferred(NamedTuple):
    """A student after its transfer."""

    network: nn.Module
    """As it is judged and kept: for SimKD with the teacher's classifier."""
    student: nn.Module
    history: list[dict[str, Any]]
    before: Mapping[str, float] = MappingProxyType({})
    """The alignment of the student with its teachers before the transfer, if it was measured."""
    after: Mapping[str, float] = MappingProxyType({})
    """Likewise after it, and what the critics tell of themselves."""


def fingerprint_of_transfer(
    method: str,
    settings: Mapping[str, Any],
    student: nn.Module,
    teachers: Sequence[Teacher],
    config: TransferConfig,
) -> dict[str, Any]:
    """By what a transfer is known, beside its training's settings and the data; JSON values."""
    names = ["cached_augmentations", "cache_dtype", "reduction", "share_student", "drop_teachers"]
    names += ["mix", "mix_alpha"] if config.mix != "none" else []
    names += ["compile_teachers"] if config.compile_teachers and teachers else []
    return {
        "method": method,
        "settings": dict(settings),
        "student": digest(student.state_dict()),
        "teachers": [digest(teacher.network.state_dict()) for teacher in teachers],
        "transfer": {name: getattr(config, name) for name in names},
    }


def save_student(
    folder: Path,
    student: nn.Module,
    network: nn.Module,
    describe: Callable[[nn.Module], Description],
    average: WeightAverage | None = None,
) -> None:
    """Write a student and, if it is another one, the network that is deployed.

    Averaged weights are written beside them as `…-ema.safetensors`. A file with the same weights is left as
    it is.

    Args:
        folder: of the student, in the run folder.
        student: as the transfer left it.
        network: the deployed network; the student itself for most methods.
        describe: network -> the description in its file.
        average: averaged weights of the student.
    """

    def save(name: str, module: nn.Module) -> None:
        path, description = folder / name, describe(module)
        if not _holds(path, module, description):
            save_weights(module, path, description=description)

    files = {STUDENT: student} | ({} if network is student else {"deployed.safetensors": network})
    for name, module in files.items():
        save(name, module)
        if average is not None:
            with average.applied():
                save(name.replace(".", "-ema."), module)


def _holds(path: Path, module: nn.Module, description: Description) -> bool:
    """Return whether a file has these weights and this description."""
    if not path.exists():
        return False
    try:
        saved, described = read_weights(path), read_description(path)
    except (UserError, OSError):
        return False
    if described is None or described.as_dict() != description.as_dict():
        return False
    wanted = module.state_dict() if description.mean is None else bare_state(module)
    return digest(saved) == digest({name: wanted[name] for name in saved if name in wanted})
