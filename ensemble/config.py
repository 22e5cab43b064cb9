"""What a person can set for an ensemble run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..engine import DistilConfig, TrainConfig


@dataclass(frozen=True)
class MembersConfig:
    """Stage 1: the pool of teachers, trained here or read from files."""

    number: int = 8
    """Members in the pool, where they are trained."""
    architecture: tuple[str, ...] = ("wrn_40_2",)
    """Names that `crdkit.models.create` takes; members take them in turn."""
    weights: tuple[str, ...] = ()
    """Files of trained members, instead of training; architectures in turn."""
    differ_by: Literal["seed", "bootstrap", "snapshots"] = "seed"
    """`seed`: other first weights and another order · `bootstrap`: also a sample of the training images,
    drawn with replacement · `snapshots`: each member goes on from the one before it, for as many epochs, at
    a learning rate that starts anew (Huang et al., 2017); for schedules that end near 0."""
    seed: int = 0
    """Of the first member; each has the next number."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimization of a member."""

    def __post_init__(self) -> None:
        if self.number < 1:
            raise ValueError(f"members.number must be at least 1, got {self.number}")
        if not self.architecture:
            raise ValueError("name at least one architecture of the members")
        if self.differ_by == "snapshots" and len(set(self.architecture)) > 1:
            raise ValueError(f"snapshots are of one architecture, got {', '.join(self.architecture)}")

    @property
    def size(self) -> int:
        """Members in the pool."""
        return len(self.weights) or self.number


@dataclass(frozen=True)
class EnsembleConfig(DistilConfig):
    """Distil ensembles of several sizes into one student, with several methods beside each other."""

    method: tuple[str, ...] = ("none", "kd-mean", "crd", "crd+kd")
    """`none` (the student alone), `kd-mean` (also `kd`), `kd-logits`, `kd-weighted`, `crd`, `fitnet` or
    another distiller of maps or embeddings, or a sum with optional factors such as `crd+0.5*kd`."""
    teachers: tuple[int, ...] = (1, 2, 4, 6, 8)
    """Sizes of the ensembles. Without one the pool is trained and judged, and nothing is distilled."""
    draw: tuple[int, ...] = ()
    """Draws of teachers from the pool, each with every seed; where absent each seed has a draw of its own.
    A larger ensemble of a draw holds the smaller ones."""
    members: MembersConfig = field(default_factory=MembersConfig)
    """The pool of teachers."""
    reduction: Literal["sum", "mean"] = "sum"
    """Of the teachers' terms where each has one of its own (crd, fitnet, …); the paper adds them up."""
    share_student: bool = False
    """One head and one memory of the student for all teachers of `crd`: nearly half the memory."""
    views: int = 0
    """Augmented views of every image, made once: the teachers see each once, and all distillations read
    their logits and embeddings from files. 0 augments in every step and runs the teachers there."""
    cache: Path | None = None
    """Where the views are kept; other runs may share it. Where absent `views` in the run folder."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.method:
            raise ValueError("name at least one method")
        for number in self.teachers:
            if not 1 <= number <= self.members.size:
                raise ValueError(f"teachers must be 1 … {self.members.size}, the members, got {number}")
        if self.views < 0:
            raise ValueError(f"views must be 0 or more, got {self.views}")
