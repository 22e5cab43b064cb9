"""Contrast of one vector per sample against a memory of the whole data set (Tian et al., 2020)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .banks import WHOLE, check_bank, choose_bank, make_banks
from .checks import (
    check_choice,
    check_finite,
    check_momentum,
    check_negatives,
    check_pair,
    check_positive,
    check_room,
)
from .critic import TEACHER_TEMPERATURE, Critic
from .distributed import gather, rows_of_ranks, world_size
from .memory import MEMORY_DTYPES, Latest, MemoryBank
from .monitor import Monitor, compare, count_negatives
from .negatives import (
    FEWER,
    PUBLISHED_NEGATIVES,
    OtherClass,
    Owners,
    check_kind,
    draw_shared,
    draw_uniform,
)


class InstanceContrast(nn.Module):
    """L_critic of Tian et al., 2020: each side's vector against the memory of the other side.

    The student's vector is scored against the teacher's bank and the teacher's against the student's; the
    sample's own bank row is the true pair. Each direction is a mean over the batch of a sum over the
    negatives, and both are added. It has no weights: all its state is buffers, to be kept outside of a
    module that DDP wraps.

    With objective="relational" (`objectives.relational`) the teacher's own vector is compared with its bank
    rows, and the student's must be as near to each of them: a direction alone, with the teacher's bank alone.
    No gradient reaches z_t; keep the teacher's head as it is (`CriticHeads(..., learn_teacher=False)`).

    Negatives (i ≠ j always holds; draws are with replacement, so K may exceed M):
        uniform: K rows for each sample.
        other_class: K rows for each sample, of classes other than its own; needs `labels`.
        shared: K rows for the whole batch; a sample passes over its own row.
        shared_other_class: the same, and over all rows of its class; needs `labels`.
        other_group, shared_other_group: as for classes, of recordings or scenes; needs `groups`.
        all: the expectation of uniform draws, K/(M−1)·Σ_{j≠i}, over the whole bank (for InfoNCE the
            logarithm of that sum of e^{s/τ}): no sampling noise. With `groups`, without the rows of its own.
        batch: the other side's vectors of all other samples of the batch, over all ranks, with gradients to
            both sides; K is the batch less one and there is no bank. With `groups`, without the samples of
            its own. Alone in its batch a sample has no negative: NCE keeps its positive term, InfoNCE is 0.
        queue: these, and the K latest ones of the batches before, of all ranks, without gradients (He et al.,
            Momentum contrast, 2020): for data sets too large for a row of each sample.

    Args:
        num_samples: M, the length of the data set.
        embed_dim: d.
        num_negatives: K; None for the published 16,384.
        temperature: τ.
        momentum: of the bank rows.
        memory_dtype: of the bank rows: "float32", or "bfloat16" for half the memory and half the reading.
        bank: where the rows are: "memory" (the module's device), "host" (the CPU's memory), "mapped" (a
            file) or "sharded" (over the ranks); all but the first need `shared` negatives of some kind.
            "auto" takes the first that fits in free memory (`banks.choose_bank`), and prints it.
        objective: "nce" (with the published Z), "infonce" or "relational"; None for "nce", but see below.
        teacher_temperature: τ_t of "relational".
        negatives: one of the above; None for "other_group" with groups, else "uniform", but see below.
        labels: the class of every sample, (M,); for "other_class" and "shared_other_class".
        groups: the recording or scene of every sample, (M,) integers: rows of the own one are no negatives.
            Where classes decide, groups are not read.

    If none of `num_negatives`, `objective` and `negatives` is given, and there are fewer than 16,384 samples,
    the loss is InfoNCE over the batch: so few samples seldom bring the steps in which the published loss
    leaves the constant critic (docs/contrast.md, Small sets).
    """

    def __init__(
        self,
        num_samples: int,
        embed_dim: int = 128,
        *,
        num_negatives: int | None = None,
        temperature: float = 0.07,
        momentum: float = 0.5,
        memory_dtype: str = "float32",
        bank: str = "auto",
        objective: str | None = None,
        teacher_temperature: float = TEACHER_TEMPERATURE,
        negatives: str | None = None,
        labels: Tensor | None = None,
        groups: Tensor | None = None,
    ) -> None:
        super().__init__()
        if num_samples < 2:
            raise ValueError(f"num_samples must be at least 2, got {num_samples}")
        chosen = (num_negatives, objective, negatives) != (None, None, None)
        if not chosen and num_samples < PUBLISHED_NEGATIVES:
            objective, negatives = "infonce", "batch"
        num_negatives = PUBLISHED_NEGATIVES if num_negatives is None else num_negatives
        objective = "nce" if objective is None else objective
        if negatives is None:
            negatives = "uniform" if groups is None else "other_group"
        check_positive(num_negatives=num_negatives)
        check_momentum(momentum)
        check_choice("memory_dtype", memory_dtype, MEMORY_DTYPES)
        check_kind(negatives, labels, groups, num_samples)
        check_bank(bank, negatives)
        self.num_samples = num_samples
        self.num_negatives = num_negatives
        self.negatives = negatives
        self.embed_dim = embed_dim
        self.check_room(1)
        self.is_relational = objective == "relational"
        critic = partial(Critic, num_samples, temperature=temperature, objective=objective)
        self.critic_student = critic(teacher_temperature=teacher_temperature)
        self.critic_teacher = None if self.is_relational else critic()
        self.owns_bank_student = True
        self.bank_student: MemoryBank | None = None
        self.bank_teacher: MemoryBank | None = None
        self.bank = WHOLE
        sides = 1 if self.is_relational else 2
        queue_size = num_negatives if negatives == "queue" else 0
        self.latest_teacher = Latest(embed_dim, queue_size)
        self.latest_student = Latest(embed_dim, queue_size if sides == 2 else 0)
        if self.keeps_samples:
            self.bank = choose_bank(bank, negatives, num_samples, embed_dim, memory_dtype, sides=sides)
            self.bank_student, self.bank_teacher = make_banks(
                self.bank, num_samples, embed_dim, momentum=momentum, dtype=memory_dtype, sides=sides
            )
        self.owners = Owners(groups, num_samples)
        self.others: OtherClass | None = None
        kind = self.owners.ids if negatives.endswith("other_group") else labels
        if negatives.endswith(("other_class", "other_group")) and kind is not None:
            self.others = OtherClass(kind)
        self.monitor = Monitor(objective, num_samples)

    @property
    def keeps_samples(self) -> bool:
        """Whether there is a row for every sample."""
        return self.negatives not in ("batch", "queue")

    def share_bank_student(self, other: InstanceContrast) -> None:
        """Read the student's bank of `other`, which meets the same student vectors, instead of an own one.

        For several teachers of one student. It is written by `other.update` alone: call that one too.
        """
        if (self.bank_teacher is None) != (other.bank_teacher is None):
            raise ValueError("one of the contrasts has a bank, the other takes its negatives from the batch")
        if self.bank != other.bank:
            raise ValueError(f"the contrasts have their rows in different banks: {self.bank}, {other.bank}")
        self.bank_student, self.owns_bank_student = other.bank_student, False

    def check_room(self, batch_size: int, device: object = None) -> None:
        """Raise a ValueError with the figures if a batch's negatives are more than what is free."""
        shape: tuple[int, ...]
        if self.negatives.startswith("shared"):  # their rows, of both banks
            shape, dtype = (2, self.num_negatives, self.embed_dim), torch.float32
        elif self.negatives != "all" and self.keeps_samples:
            shape, dtype = (batch_size, self.num_negatives), torch.int64
        else:
            return
        check_room("negatives", *shape, dtype=dtype, device=device, remedy=FEWER)

    def forward(
        self,
        z_s: Tensor,
        z_t: Tensor,
        index: Tensor,
        *,
        labels: Tensor | None = None,
        negative_index: Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch; reads the memory and leaves it as it is (but fixes Z on the first batch).

        Args:
            z_s: the student's unit vectors, (B, d).
            z_t: the teacher's unit vectors, (B, d).
            index: the samples' rows, (B,) int64 in [0, M). On a GPU a row out of range is the device's
                assertion, as a message would cost a wait in every step.
            labels: the samples' classes, (B,), for other classes; where absent, those given at construction.
            negative_index: the negatives' rows, (B, K), without the positive, instead of a draw.

        Returns:
            A scalar, fp32 or wider.

        Raises:
            ValueError: shapes that do not fit, or, on a CPU, a vector that is not finite. On a GPU, or one of
                several ranks, the loss is then not finite, and Z and the memory stay as they are.
        """
        check_pair(z_s, z_t, index, self.num_samples)
        if world_size() == 1:  # one rank of several must not leave the others waiting
            check_finite(index, student=z_s, teacher=z_t)
        own = self._owner(index, labels)
        if self.bank_teacher is None:
            if negative_index is not None:
                raise ValueError(
                    f"negatives={self.negatives!r} has no bank that negative_index could point into; choose "
                    "another kind, such as negatives='uniform'"
                )
            return self._within_batch(z_s, z_t, own)
        places: Tensor | None = None
        selection: dict[str, Any] = {}
        weight, num_negatives = 1.0, self.num_negatives
        if negative_index is not None:
            if self.bank != WHOLE:
                raise ValueError(f"negative_index needs bank={WHOLE!r}, got bank={self.bank!r}")
            num_negatives = check_negatives(negative_index, len(index), self.num_samples)
            selection = {"columns": negative_index}
        elif self.negatives == "uniform":
            selection = {"columns": draw_uniform(index, self.num_negatives, self.num_samples)}
        elif self.negatives.startswith("other") and self.others is not None:
            selection = {"columns": self.others(index, self.num_negatives, own)}
        elif self.negatives.startswith("shared"):
            places = draw_shared(self.num_negatives, self.bank_teacher.size, device=index.device)
            drawn = self.bank_teacher.samples(places)
            selection = {"owner": index, "noise_owner": drawn}
            if self.others is not None:  # the class or group is the owner: none of its rows is a negative
                selection = {"owner": own, "noise_owner": self.others.labels.index_select(0, drawn)}
        else:
            selection = {"owner": own, "noise_owner": self.owners.ids}
            weight = self.num_negatives / (self.num_samples - 1)
        rule: dict[str, Any] = {"num_negatives": num_negatives, "weight": weight}
        noise_teacher = _rows(self.bank_teacher, places)
        true = z_t if self.is_relational else self.bank_teacher.read(index)
        loss: Tensor = self.critic_student(z_s, true, noise_teacher, **rule, **selection)
        if self.critic_teacher is not None and self.bank_student is not None:
            true, noise_student = self.bank_student.read(index), _rows(self.bank_student, places)
            loss = loss + self.critic_teacher(z_t, true, noise_student, **rule, **selection)
        self._watch(loss, z_s, z_t, own, lambda: weight * count_negatives(noise_teacher, **selection))
        return loss

    def _owner(self, index: Tensor, labels: Tensor | None) -> Tensor:
        """Who each sample belongs to, (B,): its class, its group or, where neither counts, itself."""
        if self.others is None:
            return self.owners(index)
        if labels is not None and self.negatives.endswith("other_class"):
            return labels.long()
        return self.others.labels.index_select(0, index)

    def _within_batch(self, z_s: Tensor, z_t: Tensor, own: Tensor) -> Tensor:
        rows = rows_of_ranks(own)
        owners = self.latest_teacher.of_noise(gather(own, rows))
        selection = {"owner": own, "noise_owner": owners}
        # A queue fills up over the first batches.
        number = len(owners) - 1 if self.latest_teacher.queue is None else (owners >= 0).sum() - 1
        rule: dict[str, Any] = {"num_negatives": number, **selection}
        loss: Tensor = self.critic_student(z_s, z_t, self.latest_teacher.noise(z_t, rows), **rule)
        if self.critic_teacher is not None:
            loss = loss + self.critic_teacher(z_t, z_s, self.latest_student.noise(z_s, rows), **rule)
        self._watch(loss, z_s, z_t, own, lambda: count_negatives(owners, **selection))
        return loss

    def _watch(
        self, loss: Tensor, z_s: Tensor, z_t: Tensor, own: Tensor, num_negatives: Callable[[], Tensor | float]
    ) -> None:
        if self.training:
            pairs = compare(z_s, z_t, z_t, own, own) + compare(z_t, z_s, z_s, own, own)
            self.monitor.record(loss, pairs / 2, len(own), num_negatives)

    def diagnostics(self) -> dict[str, float]:
        """What the critic does, over the latest training batches (`Monitor.figures`)."""
        return self.monitor.figures()

    @torch.no_grad()
    def update(self, index: Tensor, z_s: Tensor, z_t: Tensor) -> None:
        """Write the batch of all ranks into the banks; after the scores were read. Banks that every rank
        holds whole are the same on every rank.

        A sample that occurs several times, on whatever ranks, is written once, by its first occurrence. One
        with a vector that is not finite is refused on a CPU, by a ValueError on every rank, with all rows as
        they were, and passed over on a GPU, which need not wait for the answer.
        """
        check_pair(z_s, z_t, index, self.num_samples)
        if self.negatives == "batch":
            return
        rows = rows_of_ranks(index)
        index, z_s, z_t = (gather(x, rows) for x in (index, z_s, z_t))
        check_finite(index, student=z_s, teacher=z_t)
        if self.bank_teacher is None:
            self.latest_teacher.push(self.owners(index), z_t)
            self.latest_student.push(self.owners(index), z_s)
            return
        if self.bank_student is not None and self.owns_bank_student:
            self.bank_student.update(index, z_s)
        self.bank_teacher.update(index, z_t)


def _rows(bank: MemoryBank, places: Tensor | None) -> Tensor:
    """Those at the places drawn for the batch; all of them where None."""
    return bank.rows if places is None else bank.take(places)
