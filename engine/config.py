"""The configuration of one training, and what every run of several has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ..common import UserError

# Fields that change neither weights nor history, so that a run may be resumed with other values.
FREE_ON_RESUME = ("num_workers", "log_every", "checkpoint_every")


@dataclass(frozen=True)
class TrainConfig:
    """How to train. The defaults are the CIFAR-100 settings of the paper's published code."""

    epochs: int = 240
    """Passes over the data set."""
    batch_size: int = 64
    """Samples in one batch over all processes together; the last batch of an epoch may be smaller."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """The optimizer; every trainable parameter has the same settings."""
    lr: float = 0.05
    """The learning rate at the schedule's factor 1."""
    weight_decay: float = 5e-4
    """Weight decay, on all parameters (decoupled for adamw)."""
    momentum: float = 0.9
    """Momentum of sgd; adamw ignores it."""
    nesterov: bool = False
    """Nesterov's form of momentum, for sgd."""
    schedule: Literal["constant", "step", "cosine", "onecycle"] = "step"
    """The learning rate over the steps; see `crdkit.engine.lr_factor`."""
    milestones: tuple[float, ...] = (150, 180, 210)
    """Epochs after which schedule `step` multiplies the rate by gamma."""
    gamma: float = 0.1
    """The factor at each milestone."""
    warmup_epochs: float = 0.0
    """Epochs over which the rate rises linearly from near 0."""
    clip_norm: float | None = None
    """The largest norm of the whole gradient; None does not clip."""
    accumulate: int = 1
    """Batches whose gradients are averaged, by their number of samples, for one step."""
    compile: bool = False
    """Compile the network's training step with `torch.compile`; other bits, and often faster on a GPU."""
    sync_batchnorm: bool = False
    """With several processes, batch-norm statistics over the samples of all, as of one process with the whole
    batch; else each has its own, and the main process's running statistics are kept."""
    num_workers: int = 0
    """Processes that load data, on each rank; 0 loads in the training process."""
    log_every: int = 50
    """Steps between two lines of metrics.jsonl; on a GPU also between two checks for a non-finite loss."""
    evaluate_every: int = 1
    """Epochs between two evaluations; the last epoch is always evaluated."""
    checkpoint_every: float | None = None
    """Epochs between two checkpoints; a fraction saves within the epoch. None saves at the end of every epoch
    and within one that takes more than ten minutes, but never so often that it would take over 2 % of the
    time."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate", "log_every", "evaluate_every"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise UserError(f"{name} must be a whole number of at least 1, got {value!r}")
        for name in ("lr", "checkpoint_every", "gamma"):
            value = getattr(self, name)
            if name == "checkpoint_every" and value is None:
                continue
            if not (math.isfinite(value) and value > 0):
                raise UserError(f"{name} must be positive, got {value!r}")
        for name in ("weight_decay", "momentum", "warmup_epochs", "num_workers"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise UserError(f"{name} must not be negative, got {value!r}")
        if self.clip_norm is not None and not (math.isfinite(self.clip_norm) and self.clip_norm > 0):
            raise UserError(f"clip_norm must be positive or None, got {self.clip_norm!r}")
        for name, known in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in known:
                raise UserError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        if self.warmup_epochs >= self.epochs:
            raise UserError(f"warmup_epochs must be below epochs={self.epochs}, got {self.warmup_epochs!r}")
        if self.schedule == "onecycle" and self.warmup_epochs > 0:
            raise UserError(f"onecycle warms up itself: warmup_epochs must be 0, got {self.warmup_epochs!r}")
        if list(self.milestones) != sorted(self.milestones) or any(m < 0 for m in self.milestones):
            raise UserError(f"milestones must rise and not be negative, got {self.milestones!r}")
        if self.optimizer == "sgd" and self.nesterov and self.momentum == 0:
            raise UserError("nesterov needs a momentum above 0, got 0")

    @classmethod
    def cosine(
        cls, epochs: int, *, batch_size: int = 64, warmup_epochs: float = 1.0, evaluations: int = 5
    ) -> TrainConfig:
        """A cosine with a warm-up and Nesterov's momentum: for fewer epochs than the published steps need."""
        return cls(
            epochs=epochs,
            batch_size=batch_size,
            nesterov=True,
            schedule="cosine",
            warmup_epochs=warmup_epochs,
            evaluate_every=max(1, epochs // evaluations),
        )

    def fingerprint(self) -> dict[str, Any]:
        """The fields that decide the result, for the check on resume."""
        return {name: value for name, value in asdict(self).items() if name not in FREE_ON_RESUME}


OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("constant", "step", "cosine", "onecycle")


def check_once(name: str, values: Sequence[object]) -> None:
    """Raise `ValueError` for one that stands twice: it would be the same run, and count as two."""
    if twice := [value for value in values if values.count(value) > 1]:
        raise UserError(f"{name} {twice[0]!r} stands twice")


def check_seeds(name: str, *seeds: int) -> None:
    """Raise `ValueError` for one that torch's generators do not take, or that stands twice."""
    check_once(name, seeds)
    for seed in seeds:
        if not -(2**63) <= seed < 2**63:
            raise UserError(f"{name} must be within 64 bits, got {seed}")


@dataclass(frozen=True)
class LaunchConfig:
    """Where a command writes and what it runs on."""

    output: Path | None = None
    """The run folder; without it a dated one under runs/ is made."""
    resume: bool = False
    """Continue the run in `output`; finished stages are kept."""
    precision: Literal["auto", "no", "bf16", "fp16"] = "auto"
    """Of the networks; contrastive scores stay in fp32. `auto`: the launcher's if it names one, else bf16
    where the machine is faster in it, fp32 (`no`) elsewhere; the choice is printed and stays on --resume."""
    cpu: bool = False
    """Stay on the CPU even where there is a GPU."""
    trackers: tuple[str, ...] = ()
    """Trackers of accelerate, besides metrics.jsonl: tensorboard, wandb, …"""


@dataclass(frozen=True)
class RunConfig(LaunchConfig):
    """Settings of every pipeline's run."""

    seed: tuple[int, ...] = (0,)
    """One run for each method and seed; teachers are shared."""
    keep: Literal["all", "best", "none"] = "best"
    """Weights that stay of the stages: `all` · `best`: of each network the best there is, teachers and
    students, without the heads that taught them · `none`: of no stage, once the run is done; then only the
    students are left, and other runs cannot take its stages over."""
    reuse: tuple[Path, ...] = ()
    """Other run folders, whose finished stages are taken over where their settings are the same."""
