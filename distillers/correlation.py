"""Correlation congruence, in the form of the published benchmark."""

from torch import Tensor, nn

from ..common import Count, NonNegative
from ..contrast import check_positive
from ..models import Outputs
from .ops import check_same, full_precision
from .spec import FeatureSpec
from .term import StatelessLoss, Term


@full_precision
def correlation(student: Tensor, teacher: Tensor) -> Tensor:
    """Correlation congruence: neighbors in a batch should not differ from the teacher in the same places.

    With Δ_b = |s_b − t_b|, L is the mean over b < B of Δ_b · Δ_{b+1}; 0 for a batch of one. So the published
    benchmark (RepDistiller) has it, after Peng et al., Correlation Congruence for Knowledge Distillation,
    2019.

    Args:
        student: (B, D), embedded.
        teacher: (B, D), embedded.

    Raises:
        ValueError: for shapes that are not the same (B, D).
    """
    check_same(student, teacher, ndim=2, axes="(B, D)")
    delta = (student - teacher).abs()
    return (delta[:-1] * delta[1:]).sum() / max(len(delta) - 1, 1)


class Embeddings(nn.Module):
    """A linear layer for each side's embedding, both to the same width; both train with the student.

    Args:
        student_dim: width of the student's embedding.
        teacher_dim: width of the teacher's embedding.
        embed_dim: width of the result.
    """

    reads = frozenset({"embedding"})

    def __init__(self, student_dim: int, teacher_dim: int, embed_dim: int = 128) -> None:
        super().__init__()
        check_positive(student_dim=student_dim, teacher_dim=teacher_dim, embed_dim=embed_dim)
        self.student = nn.Linear(student_dim, embed_dim)
        self.teacher = nn.Linear(teacher_dim, embed_dim)

    def forward(self, student: Outputs, teacher: Outputs) -> tuple[Tensor, Tensor]:
        """Both embeddings, (B, embed_dim)."""
        return self.student(student.embedding), self.teacher(teacher.embedding)


def make_cc(spec: FeatureSpec, *, weight: NonNegative = 0.02, embed_dim: Count = 128) -> Term:
    """Correlation congruence (`correlation`) of linear `Embeddings`, embed_dim wide."""
    projector = Embeddings(spec.student.embedding, spec.teacher.embedding, embed_dim)
    return Term(projector, StatelessLoss(correlation, relational=True), weight=weight)
