"""Cosine distance to the teacher's standardized features, at every position."""

from torch import Tensor, nn

from ..common import NonNegative
from ..models import Outputs
from .dense import DenseTarget, on_grid
from .ops import check_same, full_precision, unit
from .spec import FeatureSpec, map_at
from .standardize import StandardizeMode, standardizer
from .term import StatelessLoss, Term


@full_precision
def cosine(student: Tensor, teacher: Tensor) -> Tensor:
    """Cosine distance: the mean over samples and positions of 1 − s·t/(‖s‖‖t‖), along dim 1.

    A vector of zeros has distance 1 and no gradient.

    Args:
        student: (B, C), or (B, C, H, W), already projected to the teacher's channels.
        teacher: of the same shape.

    Raises:
        ValueError: for different shapes.
    """
    check_same(student, teacher, ndim=4 if student.ndim == 4 else 2, axes="(B, C) or (B, C, H, W)")
    return 1 - (unit(student) * unit(teacher)).sum(1).mean()


class _Map(nn.Module):
    """One map of the student, through a linear layer at each position, and the teacher's on its grid."""

    def __init__(
        self, spec: FeatureSpec, hint: int, *, hypercolumn: bool, standardize: StandardizeMode
    ) -> None:
        super().__init__()
        student, _ = map_at(spec, "cosine", hint)
        self.hint = hint
        self.target = DenseTarget(spec, hint, "cosine", hypercolumn=hypercolumn, standardize=standardize)
        self.reads = self.target.reads
        self.project = nn.Conv2d(student[0], self.target.shape[0], 1)

    def forward(self, student: Outputs, teacher: Outputs) -> tuple[Tensor, Tensor]:
        ours = student.maps[self.hint]
        return self.project(ours), on_grid(self.target(teacher), ours)


class _Embedding(nn.Module):
    """The student's embedding through a linear layer, and the teacher's."""

    reads = frozenset({"embedding"})

    def __init__(self, spec: FeatureSpec, *, standardize: StandardizeMode) -> None:
        super().__init__()
        self.standardize = standardizer(spec.teacher.embedding, spec.num_samples, standardize)
        self.project = nn.Linear(spec.student.embedding, spec.teacher.embedding)

    def forward(self, student: Outputs, teacher: Outputs) -> tuple[Tensor, Tensor]:
        return self.project(student.embedding), self.standardize(teacher.embedding)


def make_cosine(
    spec: FeatureSpec,
    *,
    weight: NonNegative = 10.0,
    hint: int | None = -1,
    hypercolumn: bool = True,
    standardize: StandardizeMode = True,
) -> Term:
    """Cosine distance (`cosine`) of a projection of the student's features to the teacher's.

    Beside a contrast it anchors: a contrast says which features are alike, and this one what they are
    (`crd-dense+cosine`). The settings are not published.

    Args:
        spec: two networks with a map of that number.
        weight: of the term.
        hint: which of the maps, stem 0, negative from the last; None for the embeddings.
        hypercolumn: compare with the teacher's hypercolumn if its map is coarser (`DenseTarget`).
        standardize: compare with features of mean 0 and variance 1 (`Standardize`), or "phi-s".
    """
    projector: nn.Module = (
        _Embedding(spec, standardize=standardize)
        if hint is None
        else _Map(spec, hint, hypercolumn=hypercolumn, standardize=standardize)
    )
    return Term(projector, StatelessLoss(cosine), weight=weight)
