"""Contrast of one vector per sample against a memory of the whole data set (Tian et al., 2020)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from ..common import UserError
from .banks import WHOLE, check_bank, choose_bank, make_banks
from .checks import check_finite, check_pair, check_room
from .config import ContrastConfig
from .critic import Critic
from .distributed import gather, rows_of_ranks, world_size
from .memory import MemoryBank, RecentVectors
from .monitor import Monitor, compare, count_negatives
from .negatives import REMEDY, Sampler, given_candidates

DEFAULTS = ContrastConfig()


class InstanceContrast(nn.Module):
    """L_critic of Tian et al., 2020: each side's vector against the memory of the other side.

    The student's vector is scored against the teacher's bank and the teacher's against the student's; the
    positive is the sample's own bank entry. Each direction is a mean over the batch of a sum over the
    negatives, and both are added. It has no weights: all its state is buffers, to be kept outside of a
    module that DDP wraps.

    With objective="relational" (`objectives.relational`) the targets are the similarities of the teacher's
    own vector to its bank entries, and the student's vector must be as similar to each of them: one
    direction, with the teacher's bank alone. No gradient reaches z_t; keep the teacher's head as it is
    (`CriticHeads(..., learn_teacher=False)`).

    Negatives (i ≠ j always holds; draws are with replacement, so K may exceed M):
        uniform: K rows for each sample.
        other_class: K rows for each sample, of classes other than its own; needs `labels`.
        shared: K rows for the whole batch; a sample masks its own row.
        shared_other_class: the same, and all rows of its class are masked; needs `labels`.
        other_group, shared_other_group: as for classes, of recordings or scenes; needs `groups`.
        all: the expectation of uniform draws, K/(M−1)·Σ_{j≠i}, over the whole bank (for InfoNCE the
            logarithm of that sum of e^{s/τ}): no sampling noise. With `groups`, rows of the same group are
            masked.
        batch: the other side's vectors of all other samples of the batch, over all ranks, with gradients to
            both sides; K is the batch size less one and there is no bank. With `groups`, samples of the same
            group are masked. Alone in its batch a sample has no negative: NCE keeps its positive term,
            InfoNCE is 0.
        queue: these, and the K latest ones of the batches before, of all ranks, without gradients (He et al.,
            Momentum contrast, 2020): for data sets too large for a row of each sample.

    Args:
        num_samples: M, the length of the data set.
        config: settings; those that are None are resolved by `ContrastConfig.resolve`.
        labels: the class of every sample, (M,); for "other_class" and "shared_other_class".
        groups: the recording or scene of every sample, (M,) integers: samples of the same group are no
            negatives. Where classes decide, groups are not read.
    """

    def __init__(
        self,
        num_samples: int,
        config: ContrastConfig = DEFAULTS,
        *,
        labels: Tensor | None = None,
        groups: Tensor | None = None,
    ) -> None:
        super().__init__()
        if num_samples < 2:
            raise UserError(f"num_samples must be at least 2, got {num_samples}")
        config = config.resolve(num_samples, has_groups=groups is not None)
        self.num_samples, self.config = num_samples, config
        check_bank(config)
        self.sampler = Sampler(num_samples, config, labels=labels, groups=groups)
        self.check_room(1)
        critic = partial(Critic, num_samples, temperature=config.temperature, objective=str(config.objective))
        self.is_relational = config.objective == "relational"
        self.critic_student = critic(teacher_temperature=config.teacher_temperature)
        self.critic_teacher = None if self.is_relational else critic()
        self.owns_bank_student = True
        self.bank_student: MemoryBank | None = None
        self.bank_teacher: MemoryBank | None = None
        self.bank = WHOLE
        queue_size = (config.num_negatives or 0) if config.negatives == "queue" else 0
        self.recent_teacher = RecentVectors(config.embed_dim, queue_size)
        self.recent_student = RecentVectors(config.embed_dim, 0 if self.is_relational else queue_size)
        if config.has_bank:
            self.bank = choose_bank(config, num_samples)
            self.bank_student, self.bank_teacher = make_banks(self.bank, config, num_samples)
        self.monitor = Monitor(str(config.objective), num_samples)

    @property
    def keeps_samples(self) -> bool:
        """Whether there is a row for every sample."""
        return self.config.has_bank

    def share_bank_student(self, other: InstanceContrast) -> None:
        """Read the student's bank of `other` instead of an own one.

        For several teachers of one student, whose vectors are the same. Only `other.update` writes it.
        """
        if (self.bank_teacher is None) != (other.bank_teacher is None):
            raise ValueError("one of the contrasts has a bank, the other takes its negatives from the batch")
        if self.bank != other.bank:
            raise ValueError(f"the contrasts have their rows in different banks: {self.bank}, {other.bank}")
        self.bank_student, self.owns_bank_student = other.bank_student, False

    def check_room(self, batch_size: int, device: object = None) -> None:
        """Raise a `UserError` with the figures if a batch's negatives exceed the free memory."""
        drawn = self.config.draw_shape(batch_size)
        if drawn is not None:
            check_room("negatives", *drawn[0], dtype=drawn[1], device=device, remedy=REMEDY)

    def draw_bytes(self, batch_size: int) -> int:
        """Return the bytes of what is drawn for a batch."""
        return self.config.draw_bytes(batch_size)

    def forward(
        self,
        z_s: Tensor,
        z_t: Tensor,
        index: Tensor,
        *,
        labels: Tensor | None = None,
        negative_index: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of a batch; the memory is read and not written (but Z is fixed on the first batch).

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
        ids = self.sampler.ids(index, labels)
        if self.bank_teacher is None:
            if negative_index is not None:
                raise ValueError(
                    f"negatives={self.config.negatives!r} has no bank that negative_index could point into; "
                    "choose another kind, such as negatives='uniform'"
                )
            return self._within_batch(z_s, z_t, ids)
        if negative_index is None:
            candidates = self.sampler(index, ids, self.bank_teacher)
        elif self.bank != WHOLE:
            raise ValueError(f"negative_index needs bank={WHOLE!r}, got bank={self.bank!r}")
        else:
            candidates = given_candidates(negative_index, len(index), self.num_samples)
        weight, selection = candidates.weight, candidates.selection()
        critic_options = {"num_negatives": candidates.num_negatives, "weight": weight, **selection}
        negatives_teacher = candidates.vectors(self.bank_teacher)
        positive = z_t if self.is_relational else self.bank_teacher.read(index)
        loss: Tensor = self.critic_student(z_s, positive, negatives_teacher, **critic_options)
        if self.critic_teacher is not None and self.bank_student is not None:
            positive, negatives = self.bank_student.read(index), candidates.vectors(self.bank_student)
            loss = loss + self.critic_teacher(z_t, positive, negatives, **critic_options)
        self._record(loss, z_s, z_t, ids, lambda: weight * count_negatives(negatives_teacher, **selection))
        return loss

    def _within_batch(self, z_s: Tensor, z_t: Tensor, ids: Tensor) -> Tensor:
        batch_sizes = rows_of_ranks(ids)
        candidate_ids = self.recent_teacher.candidate_ids(gather(ids, batch_sizes))
        selection = {"anchor_ids": ids, "candidate_ids": candidate_ids}
        # A queue fills up over the first batches.
        has_queue = self.recent_teacher.queue is not None
        number = (candidate_ids >= 0).sum() - 1 if has_queue else len(candidate_ids) - 1
        negatives_teacher = self.recent_teacher.candidates(z_t, batch_sizes)
        loss: Tensor = self.critic_student(z_s, z_t, negatives_teacher, num_negatives=number, **selection)
        if self.critic_teacher is not None:
            negatives_student = self.recent_student.candidates(z_s, batch_sizes)
            loss = loss + self.critic_teacher(z_t, z_s, negatives_student, num_negatives=number, **selection)
        self._record(loss, z_s, z_t, ids, lambda: count_negatives(candidate_ids, **selection))
        return loss

    def _record(
        self, loss: Tensor, z_s: Tensor, z_t: Tensor, ids: Tensor, num_negatives: Callable[[], Tensor | float]
    ) -> None:
        if self.training:
            pairs = compare(z_s, z_t, z_t, ids, ids) + compare(z_t, z_s, z_s, ids, ids)
            self.monitor.record(loss, pairs / 2, len(ids), num_negatives)

    def diagnostics(self) -> dict[str, float]:
        """Return the critic's figures over the latest training batches (`Monitor.figures`)."""
        return self.monitor.figures()

    @torch.no_grad()
    def update(self, index: Tensor, z_s: Tensor, z_t: Tensor) -> None:
        """Write the batch of all ranks into the banks; after the scores were read. Banks that every rank
        holds whole are the same on every rank.

        A sample that occurs several times, on whatever ranks, is written once, by its first occurrence. One
        with a vector that is not finite is refused on a CPU, by a ValueError on every rank, with all rows as
        they were, and skipped on a GPU, which need not wait for the answer.
        """
        check_pair(z_s, z_t, index, self.num_samples)
        if self.config.negatives == "batch":
            return
        batch_sizes = rows_of_ranks(index)
        index, z_s, z_t = (gather(x, batch_sizes) for x in (index, z_s, z_t))
        check_finite(index, student=z_s, teacher=z_t)
        if self.bank_teacher is None:
            ids = self.sampler.samples(index)
            self.recent_teacher.push(ids, z_t)
            self.recent_student.push(ids, z_s)
            return
        if self.bank_student is not None and self.owns_bank_student:
            self.bank_student.update(index, z_s)
        self.bank_teacher.update(index, z_t)
