"""What the stages of a pipeline hand on, and leave in the run folder."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import nn

from ..engine import Evaluate, WeightAverage, digest
from ..models import Description, save_weights
from ..transfer import STUDENT, Teacher, TransferConfig


@dataclass(frozen=True)
class RunResult:
    """One method with one seed, done."""

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
    kept = ["cached_augmentations", "cache_dtype", "reduction", "share_student", "drop_teachers"]
    kept += ["mix", "mix_alpha"] if config.mix != "none" else []
    return {
        "method": method,
        "settings": dict(settings),
        "student": digest(student.state_dict()),
        "teachers": [digest(teacher.network.state_dict()) for teacher in teachers],
        "transfer": {name: getattr(config, name) for name in kept},
    }


def keep_student(
    folder: Path,
    student: nn.Module,
    network: nn.Module,
    describe: Callable[[nn.Module], Description],
    average: WeightAverage | None = None,
) -> None:
    """Write a student, and what is used in its place, with what `describe` says of each, unless those of this
    transfer are there; likewise with averaged weights, as `…-ema.safetensors`."""
    trainings = [*folder.glob("pretrain-*/history.json"), *folder.glob("transfer/history.json")]
    made = max((path.stat().st_mtime for path in trainings), default=math.inf)

    def keep(name: str, module: nn.Module) -> None:
        path = folder / name
        is_kept = path.exists() and path.stat().st_mtime >= made
        if not is_kept:
            save_weights(module, path, description=describe(module))

    files = {STUDENT: student} | ({} if network is student else {"deployed.safetensors": network})
    for name, module in files.items():
        keep(name, module)
        if average is not None:
            with average.applied():
                keep(name.replace(".", "-ema."), module)
