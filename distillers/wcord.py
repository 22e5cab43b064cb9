"""Wasserstein contrastive distillation: a dual distance over all pairs of a batch, a primal one within it."""

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ..common import Count, NonNegative, Positive
from ..contrast import check_positive, normalize
from ..models import Outputs
from .ops import check_same, full_precision, unit
from .spec import FeatureSpec
from .term import StatelessLoss, Term


@full_precision
def wcord(
    student: Tensor,
    teacher: Tensor,
    *,
    global_weight: float = 0.8,
    local_weight: float = 0.05,
    epsilon: float = 0.05,
    iterations: int = 20,
) -> Tensor:
    """Wasserstein contrastive representation distillation: L = −λ_g · W_dual + λ_l · W_primal.

    W_dual = mean_b g(s_b, t_b) − mean_ab g(s_a, t_b) is the distance of the joint distribution from the
    product of its marginals in Kantorovich and Rubinstein's form, by the critic g = s·t / √2, which is
    1-Lipschitz for vectors no longer than 1; it is to be large. W_primal = Σ_ab P_ab (1 − cos(s_a, t_b)) is
    what it costs to carry the batch's students to its teachers, whoever is whose, by the plan P of
    `sinkhorn`; it is to be small. Chen et al., Wasserstein Contrastive Representation Distillation, 2021.

    The dual, the primal and their sum are the paper's. No code of its authors was found, and chosen here are
    the form of g, the batch (not a memory) as the marginals' sample, the cosine as cost, ε, the iterations,
    and both weights, the first being that of `crd`: the published figures are not claimed for it. In a batch
    of one W_dual is 0.

    Args:
        student: (B, D), as `LipschitzHeads` gives them.
        teacher: (B, D).
        global_weight: λ_g.
        local_weight: λ_l.
        epsilon: of `sinkhorn`.
        iterations: of `sinkhorn`.

    Raises:
        ValueError: for shapes that are not the same (B, D), or ε or iterations that are not positive.
    """
    check_same(student, teacher, ndim=2, axes="(B, D)")
    critic = student @ teacher.T / math.sqrt(2)
    dual = critic.diagonal().mean() - critic.mean()
    cost = 1 - unit(student) @ unit(teacher).T
    primal = (sinkhorn(cost, epsilon=epsilon, iterations=iterations) * cost).sum()
    return local_weight * primal - global_weight * dual


def sinkhorn(cost: Tensor, *, epsilon: float = 0.05, iterations: int = 20) -> Tensor:
    """The plan P that carries one batch to another of its size: least Σ P · cost − ε · entropy of P.

    Alternately the rows and the columns are scaled to sums of 1/B, in log space; the columns last. Cuturi,
    Sinkhorn Distances, 2013.

    Args:
        cost: (B, B).
        epsilon: ε, positive, in the unit of the cost: the larger, the more the plan is spread.
        iterations: how often both are scaled.

    Returns:
        P, (B, B), with a gradient through all iterations.

    Raises:
        ValueError: for ε or iterations that are not positive.
    """
    check_positive(epsilon=epsilon, iterations=iterations)
    log_plan = -cost / epsilon
    for _ in range(iterations):
        log_plan = log_plan.log_softmax(1).log_softmax(0)
    return log_plan.exp() / len(cost)


class LipschitzHeads(nn.Module):
    """Both embeddings in the critic's space, no vector longer than 1: of unit length first, then through a
    linear layer of spectral norm 1 (Miyato et al., 2018), in fp32 or wider. Both train with the student.

    Args:
        student_dim: width of the student's embedding.
        teacher_dim: width of the teacher's embedding.
        embed_dim: width of the result.
    """

    reads = frozenset({"embedding"})

    def __init__(self, student_dim: int, teacher_dim: int, embed_dim: int = 128) -> None:
        super().__init__()
        check_positive(student_dim=student_dim, teacher_dim=teacher_dim, embed_dim=embed_dim)
        self.student = spectral_norm(nn.Linear(student_dim, embed_dim, bias=False))
        self.teacher = spectral_norm(nn.Linear(teacher_dim, embed_dim, bias=False))

    def forward(self, student: Outputs, teacher: Outputs) -> tuple[Tensor, Tensor]:
        """Both embeddings, (B, embed_dim)."""
        with torch.autocast(student.embedding.device.type, enabled=False):
            ours, theirs = normalize(student.embedding), normalize(teacher.embedding)
            return self.student(ours), self.teacher(theirs)


def make_wcord(
    spec: FeatureSpec,
    *,
    weight: NonNegative = 1.0,
    embed_dim: Count = 128,
    global_weight: float = 0.8,
    local_weight: float = 0.05,
    epsilon: Positive = 0.05,
) -> Term:
    """Wasserstein contrastive distillation (`wcord`) of the embeddings, through `LipschitzHeads`.

    Args:
        spec: two networks.
        weight: of the sum of both distances.
        embed_dim: width of the critic's space.
        global_weight: of the dual distance, over all pairs of the batch.
        local_weight: of the primal one.
        epsilon: how much the primal one's plan is spread.
    """
    loss = partial(wcord, global_weight=global_weight, local_weight=local_weight, epsilon=epsilon)
    return Term(
        LipschitzHeads(spec.student.embedding, spec.teacher.embedding, embed_dim),
        StatelessLoss(loss, relational=True),
        weight=weight,
    )
