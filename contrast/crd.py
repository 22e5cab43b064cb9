"""Contrastive Representation Distillation as one module, for a training loop of one's own."""

from torch import Tensor, nn

from .critic import TEACHER_TEMPERATURE
from .heads import CriticHeads
from .instance import InstanceContrast


class CRDLoss(nn.Module):
    """L_critic of Tian et al., 2020, with its heads and its memory.

    In training mode one call scores the batch and then writes it into the memory; in eval mode it only
    scores. `parameters()` are the two heads, to be trained along with the student. To run under DDP, wrap
    the heads and keep `InstanceContrast` outside, as the pipelines do. A critic that learns nothing is told
    once, in a warning with its remedy; `diagnostics` has figures to log.

    Args:
        student_dim: width of the student's features.
        teacher_dim: width of the teacher's features.
        num_samples: M, the length of the data set.
        embed_dim: d of the shared space.
        num_negatives: K; None for the published 16,384.
        temperature: τ.
        momentum: of the memory's rows.
        memory_dtype: of the memory's rows: "float32", or "bfloat16" for half the memory and half the reading.
        bank: where the rows are: "auto", "memory", "host", "mapped" or "sharded" (see `InstanceContrast`).
        objective: "nce", "infonce" or "relational"; None for "nce". "relational" leaves the teacher's head as
            it is drawn.
        teacher_temperature: τ_t of "relational".
        negatives: "uniform", "other_class", "other_group", "shared", "shared_other_class",
            "shared_other_group", "all" or "batch" (see `InstanceContrast`); None for "other_group" with
            groups, else "uniform". With none of `num_negatives`, `objective` and `negatives` given, fewer
            than 16,384 samples are contrasted by InfoNCE over the batch.
        labels: the class of every sample, (M,); for negatives of other classes.
        groups: the recording or scene of every sample, (M,): rows of the own one are no negatives.
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
        memory_dtype: str = "float32",
        bank: str = "auto",
        objective: str | None = None,
        teacher_temperature: float = TEACHER_TEMPERATURE,
        negatives: str | None = None,
        labels: Tensor | None = None,
        groups: Tensor | None = None,
        head: str = "linear",
    ) -> None:
        super().__init__()
        self.heads = CriticHeads(
            student_dim, teacher_dim, embed_dim, kind=head, learn_teacher=objective != "relational"
        )
        self.contrast = InstanceContrast(
            num_samples,
            embed_dim,
            num_negatives=num_negatives,
            temperature=temperature,
            momentum=momentum,
            memory_dtype=memory_dtype,
            bank=bank,
            objective=objective,
            teacher_temperature=teacher_temperature,
            negatives=negatives,
            labels=labels,
            groups=groups,
        )

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        index: Tensor,
        *,
        labels: Tensor | None = None,
        negative_index: Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch, a scalar; gradients reach both heads and the features.

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
        """`true_score` and `noise_score`, the mean cosines of true and of noise pairs, and
        `critic_accuracy`, over the latest training batches (`Monitor`); empty before the first."""
        return self.contrast.diagnostics()
