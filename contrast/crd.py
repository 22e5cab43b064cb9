"""Contrastive Representation Distillation as one module, for your own training loop."""

from torch import Tensor, nn

from .config import (
    DEFAULT_TEACHER_TEMPERATURE,
    BankPlace,
    ContrastConfig,
    MemoryDtype,
    Negatives,
    Objective,
)
from .heads import CriticHeads
from .instance import InstanceContrast


class CRDLoss(nn.Module):
    """L_critic of Tian et al., 2020, with its heads and its memory.

    In training mode one call scores the batch and then writes it into the memory; in eval mode it only
    scores. `parameters()` are the two heads, to be trained along with the student. To run under DDP, wrap
    the heads and keep `InstanceContrast` outside, as the pipelines do. A warning, issued once and with its
    remedy, reports a critic that does not learn; `diagnostics` has figures to log.

    Args:
        student_dim: width of the student's features.
        teacher_dim: width of the teacher's features.
        num_samples: M, the length of the data set.
        embed_dim: d of the shared space.
        num_negatives: K. With none of `num_negatives`, `objective` and `negatives` given, fewer than 16,384
            samples are trained with InfoNCE over the batch.
        temperature: τ.
        momentum: of the memory's rows.
        memory_dtype: of the memory's rows.
        bank: where the memory's rows are.
        objective: "nce", "infonce" or "relational", which leaves the teacher's head as it was initialized.
        teacher_temperature: τ_t of "relational".
        negatives: kind of the negatives; the values of all these are those of `ContrastConfig`.
        labels: the class of every sample, (M,); for negatives of other classes.
        groups: the recording or scene of every sample, (M,): samples of the same group are no negatives.
        head: "linear" or "mlp".
    """

    def __init__(
        self,
        student_dim: int,
        teacher_dim: int,
        num_samples: int,
        *,
        embed_dim: int = 128,
        num_negatives: int | None = None,
        temperature: float = 0.07,
        momentum: float = 0.5,
        memory_dtype: MemoryDtype = "float32",
        bank: BankPlace = "auto",
        objective: Objective | None = None,
        teacher_temperature: float = DEFAULT_TEACHER_TEMPERATURE,
        negatives: Negatives | None = None,
        labels: Tensor | None = None,
        groups: Tensor | None = None,
        head: str = "linear",
    ) -> None:
        super().__init__()
        config = ContrastConfig(
            embed_dim,
            num_negatives,
            temperature,
            momentum,
            memory_dtype,
            bank,
            objective,
            teacher_temperature,
            negatives,
        )
        self.heads = CriticHeads(
            student_dim, teacher_dim, embed_dim, kind=head, learn_teacher=objective != "relational"
        )
        self.contrast = InstanceContrast(num_samples, config, labels=labels, groups=groups)

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        index: Tensor,
        *,
        labels: Tensor | None = None,
        negative_index: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of a batch, a scalar; gradients reach both heads and the features.

        Args:
            student: features, (B, student_dim).
            teacher: features, (B, teacher_dim).
            index: the samples' rows in the data set, (B,) int64 in [0, M).
            labels: the samples' classes, (B,), for other classes; where absent, those given at construction.
            negative_index: the negatives' rows, (B, K), without the positive, instead of a draw.

        Raises:
            ValueError: shapes that do not fit, or, on a CPU, samples whose features are NaN or infinite; the
                memory is as it was. On a GPU the loss is then not finite, and the memory passes them over.
        """
        z_s, z_t = self.heads(student, teacher)
        loss: Tensor = self.contrast(z_s, z_t, index, labels=labels, negative_index=negative_index)
        if self.training:
            self.contrast.update(index, z_s, z_t)
        return loss

    def diagnostics(self) -> dict[str, float]:
        """Return `true_score` and `noise_score`, the mean cosines of positive and negative pairs, and
        `critic_accuracy`, over the latest training batches (`Monitor`); empty before the first."""
        return self.contrast.diagnostics()
