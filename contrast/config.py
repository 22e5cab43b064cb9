"""Settings of a contrast against a memory bank, the rule for their defaults, and the bytes they need."""

from dataclasses import dataclass, replace
from math import prod
from typing import Annotated, Literal, NamedTuple

import torch

from ..common import Count, Ge, Lt, Positive, UnusedIf, check_fields

Objective = Literal["nce", "infonce", "relational"]
Negatives = Literal[
    "uniform",
    "other_class",
    "other_group",
    "shared",
    "shared_other_class",
    "shared_other_group",
    "all",
    "batch",
    "queue",
]
BankPlace = Literal["auto", "memory", "host", "mapped", "sharded"]
MemoryDtype = Literal["float32", "bfloat16"]

DEFAULT_NUM_NEGATIVES = 16384
"""K of Tian et al., 2020, and the number of samples below which negatives come from the batch by default."""
DEFAULT_TEACHER_TEMPERATURE = 0.05

_WITHOUT_BANK = ("batch", "queue")


class StateBytes(NamedTuple):
    """Bytes of the buffers of one contrast."""

    student_bank: int
    """Bank of the student's vectors, which the contrasts with several teachers may share."""
    rest: int
    """All other buffers: the teacher's bank, queues, class and group ids, running means."""


@dataclass(frozen=True)
class ContrastConfig:
    """Settings of `InstanceContrast`.

    Raises:
        UserError: a value that a field does not permit.
    """

    embed_dim: Count = 128
    """Width d of the shared embedding space."""
    num_negatives: Annotated[Count | None, UnusedIf("negatives", ("batch",))] = None
    """Number K of negatives per sample; None for the published 16,384."""
    temperature: Positive = 0.07
    """Temperature τ of the critic."""
    momentum: Annotated[float, Ge(0), Lt(1), UnusedIf("negatives", _WITHOUT_BANK)] = 0.5
    """Momentum of the bank entries: entry ← normalize(m · entry + (1 − m) · z)."""
    memory_dtype: Annotated[MemoryDtype, UnusedIf("negatives", _WITHOUT_BANK)] = "float32"
    """Type of the bank entries; "bfloat16" halves their memory and the time to read them."""
    bank: BankPlace = "auto"
    """Where the bank is: "memory" (the module's device), "host" (the CPU's memory), "mapped" (a file) or
    "sharded" (over the ranks); all but the first need shared negatives. "auto" takes the first that fits in
    free memory (`banks.choose_bank`), and prints it."""
    objective: Objective | None = None
    """Loss: "nce" (with the published Z), "infonce" or "relational"; None for "nce"."""
    teacher_temperature: Annotated[Positive, UnusedIf("objective", (None, "nce", "infonce"))] = (
        DEFAULT_TEACHER_TEMPERATURE
    )
    """Temperature τ_t of the teacher's similarities, the targets of "relational"."""
    negatives: Negatives | None = None
    """Kind of negatives, see `InstanceContrast`; None for the default of `resolve`."""

    def __post_init__(self) -> None:
        check_fields(self)

    def resolve(
        self, num_samples: int, *, has_groups: bool, prefer_other_class: bool = False
    ) -> "ContrastConfig":
        """Return the same settings with every None replaced by the default for a data set.

        With none of `num_negatives`, `objective` and `negatives` given, fewer than 16,384 samples are
        trained with InfoNCE over the batch: so few samples seldom bring the steps in which the published
        loss leaves the constant critic (docs/contrast.md, Small sets). Otherwise the negatives are of other
        classes if these are preferred (not for "relational", whose targets contain the similarities), of
        other groups if there are groups, or uniform.

        Args:
            num_samples: M, the length of the data set.
            has_groups: whether the group (recording, scene) of every sample is known.
            prefer_other_class: whether the class of every sample is known, and classes decide.
        """
        chosen = (self.num_negatives, self.objective, self.negatives) != (None, None, None)
        if not chosen and num_samples < DEFAULT_NUM_NEGATIVES:
            objective: Objective = "infonce"
            negatives: Negatives = "batch"
        else:
            objective = self.objective or "nce"
            if self.negatives is not None:
                negatives = self.negatives
            elif prefer_other_class and objective != "relational":
                negatives = "other_class"
            else:
                negatives = "other_group" if has_groups else "uniform"
        number = self.num_negatives or DEFAULT_NUM_NEGATIVES
        return replace(self, num_negatives=number, objective=objective, negatives=negatives)

    @property
    def has_bank(self) -> bool:
        """Whether there is a bank entry for every sample; of resolved settings."""
        return self.negatives not in _WITHOUT_BANK

    @property
    def num_sides(self) -> int:
        """Number of sides that have a bank or queue: the teacher's alone for "relational"."""
        return 1 if self.objective == "relational" else 2

    def draw_shape(self, batch_size: int) -> tuple[tuple[int, ...], torch.dtype] | None:
        """Return shape and type of what is drawn for a batch; None if nothing is drawn."""
        number = self.num_negatives or DEFAULT_NUM_NEGATIVES
        if str(self.negatives).startswith("shared"):
            return (2, number, self.embed_dim), torch.float32
        if self.negatives == "all" or not self.has_bank:
            return None
        return (batch_size, number), torch.int64

    def draw_bytes(self, batch_size: int) -> int:
        """Return the bytes of what is drawn for a batch; of resolved settings."""
        drawn = self.draw_shape(batch_size)
        return 0 if drawn is None else prod(drawn[0]) * drawn[1].itemsize

    def state_bytes(self, num_samples: int, *, has_groups: bool) -> StateBytes:
        """Return the bytes of an `InstanceContrast`'s buffers, over all ranks if the bank is sharded; of
        resolved settings."""
        bank = rest = 0
        if self.has_bank:
            bank = num_samples * self.embed_dim * getattr(torch, self.memory_dtype).itemsize
        if self.negatives == "queue":
            rest += self.num_sides * queue_bytes(self.num_negatives or DEFAULT_NUM_NEGATIVES, self.embed_dim)
        rest += _ID_BYTES * num_samples * has_groups
        if str(self.negatives).endswith(("other_class", "other_group")):
            rest += 3 * _ID_BYTES * num_samples  # the class of every sample, and the sorted order
        rest += MONITOR_BYTES + self.num_sides * critic_bytes(self.objective or "nce")
        return StateBytes(bank if self.num_sides == 2 else 0, rest + bank)


_ID_BYTES = 8
MONITOR_BYTES = 4 * 4 + 8
"""Bytes of a `Monitor`'s running means and their count."""


def critic_bytes(objective: str) -> int:
    """Return the bytes of the constant Z of one direction."""
    return 4 + 1 if objective == "nce" else 0


def queue_bytes(length: int, embed_dim: int) -> int:
    """Return the bytes of a `FeatureQueue`: vectors, their ids and the write position."""
    return length * (4 * embed_dim + _ID_BYTES) + _ID_BYTES


def maps_state_bytes(
    num_samples: int, embed_dim: int, queue_size: int, objective: str, *, has_groups: bool
) -> int:
    """Return the bytes of the buffers of a `LocalGlobalContrast` or a `DenseContrast`."""
    sides = 1 if objective == "relational" else 2
    queues = queue_bytes(queue_size, embed_dim) if queue_size else 0
    groups = _ID_BYTES * num_samples * has_groups
    return sides * (queues + critic_bytes(objective)) + groups + MONITOR_BYTES
