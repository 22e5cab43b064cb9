"""The angle between embeddings, in units of how far the teacher's own lie apart."""

import torch
from torch import Tensor, nn

from ..common import NonNegative
from ..contrast import gather_with_gradient, rows_of_ranks
from ..models import Outputs
from .ops import check_same, full_precision, unit
from .spec import BatchMeta, FeatureSpec
from .term import Term


@full_precision
def angle(student: Tensor, teacher: Tensor, *, dispersion: Tensor | float = 1.0) -> Tensor:
    """mean_b θ_b² / dispersion, θ_b the angle in radians between s_b and t_b; a scalar.

    With the teacher's `angular_dispersion` the loss is 1 for a student that always answers with the teacher's
    mean direction: teachers whose embeddings lie in a narrow cone count as much as those that fill the
    sphere, whatever their lengths. After the balanced summary loss of Ranzinger et al., C-RADIOv4, 2026.

    Args:
        student: s, (B, D).
        teacher: t, (B, D).
        dispersion: in radians squared, positive.

    Raises:
        ValueError: for shapes that are not the same (B, D).
    """
    check_same(student, teacher, ndim=2, axes="(B, D)")
    return angles(student, teacher).square().mean() / dispersion


@full_precision
def angular_dispersion(x: Tensor) -> Tensor:
    """mean_b θ_b² of vectors (B, D), θ_b the angle in radians from their mean direction; a scalar."""
    directions = unit(x)
    return angles(directions, directions.mean(0, keepdim=True).expand_as(x)).square().mean()


@full_precision
def angles(a: Tensor, b: Tensor) -> Tensor:
    """The angle between the rows of a and b, both (B, D), in radians, (B,); π/2 with a row that is zero.

    θ = 2·atan2(‖u − v‖, ‖u + v‖) of unit vectors: exact for small angles, and its gradient is finite where
    that of arccos is not.
    """
    u, v = unit(a), unit(b)
    lost = (u.detach() == 0).all(1) & (v.detach() == 0).all(1)
    apart, along = (torch.linalg.vector_norm(x, dim=1) for x in (u - v, u + v))
    return 2 * torch.atan2(apart.masked_fill(lost, 1.0), along.masked_fill(lost, 1.0))


#: A dispersion below this, in radians squared, is rounding.
_NONE = 1e-6


class AngleLoss(nn.Module):
    """`angle` as an objective, with the dispersion of all that the teacher has said so far, this batch
    included; the same on every rank.

    `update` takes a batch in: its directions into the mean direction, its squared angles from that into the
    mean of those. While the teacher has said one thing only, the dispersion is 1.

    Args:
        dim: D of the teacher's embedding.
    """

    direction: Tensor
    dispersion: Tensor
    count: Tensor
    keeps_samples = False

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("direction", torch.zeros(dim))
        self.register_buffer("dispersion", torch.zeros(()))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, student: Tensor, teacher: Tensor, *, meta: BatchMeta) -> Tensor:
        return self.of_each(student, teacher, meta=meta).mean()

    def of_each(self, student: Tensor, teacher: Tensor, *, meta: BatchMeta) -> Tensor:
        """θ² / dispersion of each sample, (B,)."""
        dispersion = self._taken_in(teacher, meta.index)["dispersion"]
        dispersion = dispersion.masked_fill(dispersion < _NONE, 1.0)
        return angles(student, teacher).square() / dispersion

    @torch.no_grad()
    def update(self, index: Tensor, teacher: Tensor) -> None:
        """Take the teacher's embeddings of a batch in."""
        for name, value in self._taken_in(teacher, index).items():
            getattr(self, name).copy_(value)

    @torch.no_grad()
    def _taken_in(self, teacher: Tensor, index: Tensor) -> dict[str, Tensor]:
        """The buffers with a batch of all ranks."""
        directions = unit(gather_with_gradient(teacher.detach(), rows_of_ranks(index)).float())
        count = self.count + len(directions)
        share = len(directions) / count
        direction = torch.lerp(self.direction, directions.mean(0), share)
        squares = angles(directions, direction.expand_as(directions)).square().mean()
        return {
            "direction": direction,
            "dispersion": torch.lerp(self.dispersion, squares, share),
            "count": count,
        }


class _Aligned(nn.Module):
    """The student's embedding through a linear layer, and the teacher's, (B, D) each."""

    reads = frozenset({"embedding"})

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self.student = nn.Linear(spec.student.embedding, spec.teacher.embedding)

    def forward(self, student: Outputs, teacher: Outputs) -> tuple[Tensor, Tensor]:
        return self.student(student.embedding), teacher.embedding


def make_angle(spec: FeatureSpec, *, weight: NonNegative = 1.0) -> Term:
    """The `angle` of the embeddings in units of the teacher's dispersion, through a linear layer.

    For several teachers of different scale: each has its own layer and dispersion.
    """
    return Term(_Aligned(spec), AngleLoss(spec.teacher.embedding), weight=weight, memory_inputs=(1,))
