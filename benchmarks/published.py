"""The contrastive loss in its plain published formulation, which ours is measured against."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from crdkit.contrast import InstanceContrast

    Loss = Callable[[Tensor, Tensor, Tensor], Tensor]

TEMPERATURE, MOMENTUM = 0.07, 0.5


def published_loss(
    contrast: InstanceContrast, num_negatives: int, columns: Tensor | None = None
) -> tuple[Loss, Callable[[Tensor, Tensor, Tensor], None]]:
    """The loss from gathered rows, e^{s/τ}/Z, then the ratio with an eps; Z from the first batch. And the
    writing of both banks."""
    import torch

    assert contrast.bank_student is not None and contrast.bank_teacher is not None
    student, teacher = contrast.bank_student, contrast.bank_teacher
    num_samples, eps = len(student.rows), 1e-7
    constants: dict[int, float] = {}

    def direction(side: int, z: Tensor, bank: Tensor, rows: Tensor) -> Tensor:
        batch_size, width = rows.shape
        weights = bank.index_select(0, rows.view(-1)).view(batch_size, width, -1)
        out = torch.exp(torch.bmm(weights, z.unsqueeze(2)).squeeze(2) / TEMPERATURE)
        if side not in constants:
            constants[side] = out.mean().item() * num_samples
        out = out / constants[side]
        noise = (width - 1) / num_samples
        positive = (out[:, 0] / (out[:, 0] + noise + eps)).log().sum()
        negative = (noise / (out[:, 1:] + noise + eps)).log().sum()
        return -(positive + negative) / batch_size

    def loss(z_s: Tensor, z_t: Tensor, index: Tensor) -> Tensor:
        rows = torch.randint(num_samples, (len(index), num_negatives + 1), device=index.device)
        if columns is not None:
            rows[:, 1:] = columns
        rows[:, 0] = index
        return direction(0, z_s, teacher.rows, rows) + direction(1, z_t, student.rows, rows)

    @torch.no_grad()
    def write(index: Tensor, z_s: Tensor, z_t: Tensor) -> None:
        for bank, z in ((student.rows, z_s), (teacher.rows, z_t)):
            row = bank.index_select(0, index) * MOMENTUM + z * (1 - MOMENTUM)
            bank.index_copy_(0, index, row / row.pow(2).sum(1, keepdim=True).sqrt())

    return loss, write
