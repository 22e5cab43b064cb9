"""Contrast of positions with positions: the same place of both maps against places of other images."""

from typing import Annotated, Any

from torch import Tensor, nn

from ..common import Count, Ge, NonNegative, Positive, UnusedIf
from ..contrast import CriticHeads, DenseContrast, Objective
from ..models import Outputs
from .dense import DenseTarget, on_grid
from .memory import DataSize, MemoryEstimate, estimate_of_maps, estimated_by
from .spec import FeatureSpec, map_at
from .standardize import StandardizeMode
from .term import MemoryLoss, Term


class DenseHeads(nn.Module):
    """Last maps of both sides in the critic's space on the student's grid: (B, d, H, W) each."""

    def __init__(
        self,
        spec: FeatureSpec,
        embed_dim: int,
        method: str,
        *,
        hypercolumn: bool,
        standardize: StandardizeMode,
        **options: Any,
    ) -> None:
        super().__init__()
        student, _ = map_at(spec, method, -1)
        self.target = DenseTarget(spec, -1, method, hypercolumn=hypercolumn, standardize=standardize)
        self.reads = self.target.reads
        self.heads = CriticHeads(student[0], self.target.shape[0], embed_dim, **options)

    def forward(self, student: Outputs, teacher: Outputs) -> tuple[Tensor, Tensor]:
        ours = student.maps[-1]
        z_s, z_t = self.heads(ours, on_grid(self.target(teacher), ours))
        return z_s, z_t


def estimate_crd_dense(
    size: DataSize, *, embed_dim: int, queue_size: int, objective: Objective, **_: Any
) -> MemoryEstimate:
    """Return the memory that `crd-dense` needs with these settings."""
    return estimate_of_maps(
        size, "crd-dense", embed_dim=embed_dim, queue_size=queue_size, objective=objective
    )


@estimated_by(estimate_crd_dense)
def make_crd_dense(
    spec: FeatureSpec,
    *,
    weight: NonNegative = 1.0,
    embed_dim: Count = 128,
    temperature: Positive = 0.1,
    objective: Objective = "nce",
    teacher_temperature: Annotated[Positive, UnusedIf("objective", ("nce", "infonce"))] = 0.05,
    queue_size: Annotated[int, Ge(0)] = 512,
    num_positions: Count = 24,
    hypercolumn: bool = True,
    standardize: StandardizeMode = False,
) -> Term:
    """Contrast of every position of the last maps (`crdkit.contrast.DenseContrast`).

    Not published: the settings are those of the measured tables on NYU-Depth-v2 (docs/results.md).

    Args:
        spec: two networks with maps; with groups, images of the own one are no negatives.
        weight: of the term.
        embed_dim: d of the shared space.
        temperature: τ.
        objective: "nce", "infonce" or "relational".
        teacher_temperature: τ_t of "relational".
        queue_size: positions of earlier batches kept as negatives.
        num_positions: positions of each image that serve as negatives; every position is an anchor.
        hypercolumn: read a teacher whose last map is coarser as a hypercolumn (`DenseTarget`).
        standardize: contrast the teacher's features at mean 0 and variance 1 (`Standardize`), or "phi-s".
    """
    contrast = DenseContrast(
        embed_dim,
        queue_size=queue_size,
        num_positions=num_positions,
        temperature=temperature,
        objective=objective,
        teacher_temperature=teacher_temperature,
        groups=spec.groups,
    )
    heads = DenseHeads(
        spec,
        embed_dim,
        "crd-dense",
        hypercolumn=hypercolumn,
        standardize=standardize,
        learn_teacher=objective != "relational",
    )
    return Term(heads, MemoryLoss(contrast), weight=weight, memory_inputs=(0, 1))
