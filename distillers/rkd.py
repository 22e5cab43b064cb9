"""Relational knowledge distillation: distances and angles within a batch."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ..common import NonNegative
from .ops import check_batch, full_precision, unit
from .spec import FeatureSpec
from .term import SelectOutputs, StatelessLoss, Term


@full_precision
def rkd(
    student: Tensor, teacher: Tensor, *, distance_weight: float = 25.0, angle_weight: float = 50.0
) -> Tensor:
    """Relational knowledge distillation: the distances of all pairs and the angles of all triplets.

    Distances are divided by their mean over the pairs of different samples; the angle of a triplet is the
    cosine at its first sample. Both are compared by the smooth L1 loss, averaged over all B² and B³ entries.
    Park et al., Relational Knowledge Distillation, 2019, Eq. 4 to 8. Scaling or rotating one side changes
    nothing. 0 for a batch of one.

    Args:
        student: (B, D).
        teacher: (B, D').
        distance_weight: of the distances.
        angle_weight: of the angles.

    Raises:
        ValueError: for other than two axes, or different batches.
    """
    check_batch(student, teacher, ndim=2, axes="(B, D)")
    (distance_s, angle_s), (distance_t, angle_t) = _relations(student), _relations(teacher)
    distances, angles = F.smooth_l1_loss(distance_s, distance_t), F.smooth_l1_loss(angle_s, angle_t)
    return distance_weight * distances + angle_weight * angles


def _relations(x: Tensor) -> tuple[Tensor, Tensor]:
    """Relative distances (B, B) and the cosines (B, B, B) at the first of three samples."""
    difference = x[None] - x[:, None]
    distance = torch.linalg.vector_norm(difference, dim=2)
    mean = distance.sum() / max(len(x) * (len(x) - 1), 1)
    direction = unit(difference, dim=2)
    return distance / mean.masked_fill(mean == 0, 1.0), direction @ direction.mT


def make_rkd(
    spec: FeatureSpec, *, weight: NonNegative = 1.0, distance_weight: float = 25.0, angle_weight: float = 50.0
) -> Term:
    """Relational knowledge distillation (`rkd`) of the embeddings."""
    return Term(
        SelectOutputs("embedding"),
        StatelessLoss(
            partial(rkd, distance_weight=distance_weight, angle_weight=angle_weight), relational=True
        ),
        weight=weight,
    )
