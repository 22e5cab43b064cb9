"""Contrastive representation distillation as a term: the heads project, the contrast remembers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ..contrast import CriticHeads, InstanceContrast
from ..models import Outputs
from .term import Contrast, Pair, Term

__all__ = ["make_crd", "share_student_side"]


class _Heads(nn.Module):
    """Embeddings of both sides in the critic's space."""

    def __init__(self, pair: Pair, embed_dim: int, head: str) -> None:
        super().__init__()
        self.heads = CriticHeads(pair.student.embedding, pair.teacher.embedding, embed_dim, kind=head)

    def forward(self, student: Outputs, teacher: Outputs) -> tuple[Tensor, Tensor]:
        z_s, z_t = self.heads(student.embedding, teacher.embedding)
        return z_s, z_t


def make_crd(
    pair: Pair,
    *,
    weight: float = 0.8,
    embed_dim: int = 128,
    num_negatives: int = 16384,
    temperature: float = 0.07,
    momentum: float = 0.5,
    objective: str = "nce",
    negatives: str | None = None,
    head: str = "linear",
) -> Term:
    """Contrastive representation distillation of the embeddings (Tian et al., 2020).

    Args:
        pair: two networks; with labels for negatives of other classes.
        weight: published.
        embed_dim: d of the shared space.
        num_negatives: K.
        temperature: τ.
        momentum: of the memory's rows.
        objective: "nce" or "infonce".
        negatives: as in `InstanceContrast`. None for the published ones: "other_class" where there are
            labels, else "uniform".
        head: "linear" or "mlp".
    """
    if negatives is None:
        negatives = "uniform" if pair.labels is None else "other_class"
    contrast = InstanceContrast(
        pair.num_samples,
        embed_dim,
        num_negatives=num_negatives,
        temperature=temperature,
        momentum=momentum,
        objective=objective,
        negatives=negatives,
        labels=pair.labels,
    )
    return Term(_Heads(pair, embed_dim, head), Contrast(contrast), weight=weight, written=(0, 1))


def share_student_side(terms: Sequence[Term]) -> None:
    """Give several teachers' terms of `make_crd` one head and one memory of their student, the first's."""
    parts = [
        (term.projector, term.objective.contrast)
        for term in terms
        if isinstance(term.projector, _Heads) and isinstance(term.objective, Contrast)
    ]
    for projector, contrast in parts[1:]:
        projector.heads.student = parts[0][0].heads.student
        if isinstance(contrast, InstanceContrast) and isinstance(parts[0][1], InstanceContrast):
            contrast.share_bank_student(parts[0][1])
