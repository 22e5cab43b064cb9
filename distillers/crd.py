"""Contrastive representation distillation as a term: the heads project, the contrast remembers."""

from typing import Any

from torch import Tensor, nn

from ..contrast import PUBLISHED_NEGATIVES, CriticHeads, InstanceContrast
from ..models import Outputs
from .spec import FeatureSpec
from .standardize import standardizer
from .term import MemoryLoss, Term


class GlobalHeads(nn.Module):
    """Embeddings of both sides in the critic's space, (B, d) each."""

    reads = frozenset({"embedding"})

    def __init__(
        self, spec: FeatureSpec, embed_dim: int, *, standardize: bool | str = False, **options: Any
    ) -> None:
        super().__init__()
        self.standardize = standardizer(spec.teacher.embedding, spec.num_samples, standardize)
        self.heads = CriticHeads(spec.student.embedding, spec.teacher.embedding, embed_dim, **options)

    def forward(self, student: Outputs, teacher: Outputs) -> tuple[Tensor, Tensor]:
        z_s, z_t = self.heads(student.embedding, self.standardize(teacher.embedding))
        return z_s, z_t


def make_crd(
    spec: FeatureSpec,
    *,
    weight: float = 0.8,
    embed_dim: int = 128,
    num_negatives: int | None = None,
    temperature: float = 0.07,
    momentum: float = 0.5,
    memory_dtype: str = "float32",
    bank: str = "auto",
    objective: str | None = None,
    teacher_temperature: float = 0.05,
    negatives: str | None = None,
    head: str = "linear",
    standardize: bool | str = False,
) -> Term:
    """Contrastive representation distillation of the embeddings (Tian et al., 2020).

    Args:
        spec: two networks; with labels for negatives of other classes, or groups for those of other groups.
        weight: published.
        embed_dim: d of the shared space.
        num_negatives: K; None for the published 16,384.
        temperature: τ.
        momentum: of the memory's rows.
        memory_dtype: of the memory's rows: "float32", or "bfloat16" for half the memory and half the reading.
        bank: where the rows are: "auto", "memory", "host", "mapped" or "sharded" (see `InstanceContrast`).
        objective: "nce", "infonce" or "relational"; None for "nce". "relational" leaves the teacher's head as
            it is drawn (`CriticHeads`).
        teacher_temperature: τ_t of "relational".
        negatives: as in `InstanceContrast`. None for the published ones: "other_class" if there are labels
            (not for "relational", whose targets know who is alike), else "other_group" if there are groups,
            else "uniform". With none of `num_negatives`, `objective`
            and `negatives` given, fewer than 16,384 samples are contrasted by InfoNCE over the batch.
        head: "linear" or "mlp".
        standardize: contrast the teacher's features at mean 0 and variance 1 (`Standardize`), or "phi-s".
    """
    classes = None if spec.labels is None or spec.labels.ndim != 1 else spec.labels
    chosen = (num_negatives, objective) != (None, None)
    is_relational = objective == "relational"
    if negatives is None and classes is not None and (chosen or spec.num_samples >= PUBLISHED_NEGATIVES):
        negatives = None if is_relational else "other_class"
    contrast = InstanceContrast(
        spec.num_samples,
        embed_dim,
        num_negatives=num_negatives,
        temperature=temperature,
        momentum=momentum,
        memory_dtype=memory_dtype,
        bank=bank,
        objective=objective,
        teacher_temperature=teacher_temperature,
        negatives=negatives,
        labels=classes,
        groups=spec.groups,
    )
    heads = GlobalHeads(spec, embed_dim, standardize=standardize, kind=head, learn_teacher=not is_relational)
    return Term(heads, MemoryLoss(contrast), weight=weight, memory_inputs=(0, 1))
