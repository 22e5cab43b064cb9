"""Contrast of positions with global vectors, after Deep InfoMax: the paper's choice for NYU-Depth-v2."""

from typing import Annotated, Any

from torch import Tensor, nn

from ..common import Count, Ge, NonNegative, Positive, UnusedIf
from ..contrast import LocalGlobalContrast, Objective
from ..models import Outputs
from .crd import GlobalHeads
from .crd_dense import DenseHeads
from .memory import DataSize, MemoryEstimate, estimate_of_maps, estimated_by
from .spec import FeatureSpec
from .standardize import StandardizeMode
from .term import MemoryLoss, Term


class _LocalGlobalHeads(nn.Module):
    """Local maps and global vectors of both sides, in the order of `LocalGlobalContrast`."""

    def __init__(self, spec: FeatureSpec, embed_dim: int, *, hypercolumn: bool, **options: Any) -> None:
        super().__init__()
        self.local = DenseHeads(spec, embed_dim, "crd-local", hypercolumn=hypercolumn, **options)
        self.glob = GlobalHeads(spec, embed_dim, **options)
        self.reads = self.local.reads | self.glob.reads

    def forward(self, student: Outputs, teacher: Outputs) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        student_map, teacher_map = self.local(student, teacher)
        student_global, teacher_global = self.glob(student, teacher)
        return student_map, student_global, teacher_map, teacher_global


def estimate_crd_local(
    size: DataSize, *, embed_dim: int, queue_size: int, objective: Objective, **_: Any
) -> MemoryEstimate:
    """Return the memory that `crd-local` needs with these settings."""
    return estimate_of_maps(
        size, "crd-local", embed_dim=embed_dim, queue_size=queue_size, objective=objective
    )


@estimated_by(estimate_crd_local)
def make_crd_local(
    spec: FeatureSpec,
    *,
    weight: NonNegative = 1.0,
    embed_dim: Count = 128,
    temperature: Positive = 0.1,
    objective: Objective = "nce",
    teacher_temperature: Annotated[Positive, UnusedIf("objective", ("nce", "infonce"))] = 0.05,
    queue_size: Annotated[int, Ge(0)] = 0,
    hypercolumn: bool = True,
    standardize: StandardizeMode = False,
) -> Term:
    """Contrast of local features of one side with global vectors of the other, both ways (Tian et al., 2020,
    section 4.2; `crdkit.contrast.LocalGlobalContrast`).

    Args:
        spec: two networks with maps; with groups, images of the own one are no negatives.
        weight: of the term.
        embed_dim: d of the shared space.
        temperature: τ.
        objective: "nce", "infonce" or "relational".
        teacher_temperature: τ_t of "relational".
        queue_size: global vectors of earlier batches kept as negatives; 0 for the batch alone.
        hypercolumn: read a teacher whose last map is coarser as a hypercolumn (`DenseTarget`).
        standardize: contrast the teacher's features at mean 0 and variance 1 (`Standardize`), or "phi-s".
    """
    contrast = LocalGlobalContrast(
        embed_dim,
        queue_size=queue_size,
        temperature=temperature,
        objective=objective,
        teacher_temperature=teacher_temperature,
        groups=spec.groups,
    )
    heads = _LocalGlobalHeads(
        spec,
        embed_dim,
        hypercolumn=hypercolumn,
        standardize=standardize,
        learn_teacher=objective != "relational",
    )
    return Term(heads, MemoryLoss(contrast), weight=weight, memory_inputs=(1, 3))
