"""Contrast of one vector per sample against a memory of the whole data set (Tian et al., 2020)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .checks import check_choice, check_pair, check_positive, check_rows
from .critic import Critic
from .distributed import gather, gather_with_gradient
from .memory import MemoryBank
from .negatives import OtherClass, draw_shared, draw_uniform

NEGATIVES = ("uniform", "other_class", "shared", "shared_other_class", "all", "batch")


class InstanceContrast(nn.Module):
    """L_critic of Tian et al., 2020: each side's vector against the memory of the other side.

    The student's vector is scored against the teacher's bank and the teacher's against the student's; the
    sample's own bank row is the true pair. Each direction is a mean over the batch of a sum over the
    negatives, and both are added. It has no weights: all its state is buffers, to be kept outside of a
    module that DDP wraps.

    Negatives (i ≠ j always holds; draws are with replacement, so K may exceed M):
        uniform: K rows for each sample.
        other_class: K rows for each sample, of classes other than its own; needs `labels`.
        shared: K rows for the whole batch; a sample passes over its own row.
        shared_other_class: the same, and over all rows of its class; needs `labels`.
        all: the expectation of uniform draws, K/(M−1)·Σ_{j≠i}, over the whole bank (for InfoNCE the
            logarithm of that sum of e^{s/τ}): no sampling noise.
        batch: the other side's vectors of all other samples of the batch, over all ranks, with gradients to
            both sides; K is the batch less one and there is no bank. Alone in its batch a sample has no
            negative: NCE keeps its positive term, InfoNCE is 0.

    Args:
        num_samples: M, the length of the data set.
        embed_dim: d.
        num_negatives: K.
        temperature: τ.
        momentum: of the bank rows.
        objective: "nce" (with the published Z) or "infonce".
        negatives: one of the above.
        labels: the class of every sample, (M,); for "other_class" and "shared_other_class".
    """

    def __init__(
        self,
        num_samples: int,
        embed_dim: int = 128,
        *,
        num_negatives: int = 16384,
        temperature: float = 0.07,
        momentum: float = 0.5,
        objective: str = "nce",
        negatives: str = "uniform",
        labels: Tensor | None = None,
    ) -> None:
        super().__init__()
        if num_samples < 2:
            raise ValueError(f"num_samples must be at least 2, got {num_samples}")
        check_positive(num_negatives=num_negatives)
        check_choice("negatives", negatives, NEGATIVES)
        if labels is not None and len(labels) != num_samples:
            raise ValueError(f"labels must hold {num_samples} classes, one per sample, got {len(labels)}")
        if negatives.endswith("other_class") and labels is None:
            raise ValueError(f"negatives={negatives!r} needs labels, the class of every sample")
        self.num_samples = num_samples
        self.num_negatives = num_negatives
        self.negatives = negatives
        self.critic_student = Critic(num_samples, temperature=temperature, objective=objective)
        self.critic_teacher = Critic(num_samples, temperature=temperature, objective=objective)
        self.owns_bank_student = True
        self.bank_student: MemoryBank | None = None
        self.bank_teacher: MemoryBank | None = None
        if negatives != "batch":
            self.bank_student = MemoryBank(num_samples, embed_dim, momentum=momentum)
            self.bank_teacher = MemoryBank(num_samples, embed_dim, momentum=momentum)
        self.other_class: OtherClass | None = None
        if negatives.endswith("other_class") and labels is not None:
            self.other_class = OtherClass(labels)

    def share_bank_student(self, other: InstanceContrast) -> None:
        """Read the student's bank of `other`, which meets the same student vectors, instead of an own one.

        For several teachers of one student. It is written by `other.update` alone: call that one too.
        """
        if (self.bank_student is None) != (other.bank_student is None):
            raise ValueError("one of the contrasts has a bank, the other takes its negatives from the batch")
        self.bank_student, self.owns_bank_student = other.bank_student, False

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
        """
        check_pair(z_s, z_t, index, self.num_samples)
        if self.bank_student is None or self.bank_teacher is None:
            if negative_index is not None:
                raise ValueError("negatives='batch' has no bank that negative_index could point into")
            return self._within_batch(z_s, z_t, index)
        student, teacher = self.bank_student.rows, self.bank_teacher.rows
        noise_student, noise_teacher = student, teacher
        selection: dict[str, Any] = {}
        weight, num_negatives = 1.0, self.num_negatives
        if negative_index is not None:
            check_rows("negative_index", negative_index, self.num_samples)
            shape = tuple(negative_index.shape)
            if len(shape) != 2 or shape[0] != len(index) or shape[1] == 0:
                raise ValueError(f"negative_index must be ({len(index)}, K) with K > 0, got {shape}")
            selection, num_negatives = {"columns": negative_index}, negative_index.shape[1]
        elif self.negatives == "uniform":
            selection = {"columns": draw_uniform(index, self.num_negatives, self.num_samples)}
        elif self.negatives == "other_class" and self.other_class is not None:
            selection = {"columns": self.other_class(index, self.num_negatives, labels)}
        elif self.negatives.startswith("shared"):
            drawn = draw_shared(self.num_negatives, self.num_samples, device=index.device)
            noise_student, noise_teacher = student.index_select(0, drawn), teacher.index_select(0, drawn)
            selection = {"owner": index, "noise_owner": drawn}
            if self.other_class is not None:  # the class is the owner: none of its rows is a negative
                classes = self.other_class.labels
                own = classes.index_select(0, index) if labels is None else labels
                selection = {"owner": own, "noise_owner": classes.index_select(0, drawn)}
        else:
            selection = {"owner": index}
            weight = self.num_negatives / (self.num_samples - 1)
        rule: dict[str, Any] = {"num_negatives": num_negatives, "weight": weight}
        return self.critic_student(
            z_s, teacher.index_select(0, index), noise_teacher, **rule, **selection
        ) + self.critic_teacher(z_t, student.index_select(0, index), noise_student, **rule, **selection)

    def _within_batch(self, z_s: Tensor, z_t: Tensor, index: Tensor) -> Tensor:
        owners = gather(index)
        rule: dict[str, Any] = {"num_negatives": len(owners) - 1, "owner": index, "noise_owner": owners}
        return self.critic_student(z_s, z_t, gather_with_gradient(z_t), **rule) + self.critic_teacher(
            z_t, z_s, gather_with_gradient(z_s), **rule
        )

    @torch.no_grad()
    def update(self, index: Tensor, z_s: Tensor, z_t: Tensor) -> None:
        """Write the batch of all ranks into the banks, the same on every rank; after the scores were read.

        A sample that occurs several times, on whatever ranks, is written once, by its first occurrence.
        """
        check_pair(z_s, z_t, index, self.num_samples)
        if self.bank_student is None or self.bank_teacher is None:
            return
        index = gather(index)
        if self.owns_bank_student:
            self.bank_student.update(index, gather(z_s))
        self.bank_teacher.update(index, gather(z_t))
