"""Adaptive ensemble distillation: the teachers' losses weighted so that the student's gradient serves all."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from ..common import NonNegative, Positive, UserError
from ..contrast import average, check_positive
from ..models import Outputs
from .ensemble import TogetherLogits, check_classes
from .fitnet import Hint, fitnet
from .kd import softened_kl
from .logits import select_logits
from .ops import full_precision
from .spec import FeatureSpec
from .term import StatelessLoss, Term

#: Steps of the solver for each teacher. With fewer teachers than classes the square of the length is then
#: within 1e-8 of the longest gradient's, of the best.
_STEPS = 16

#: Gradients that differ by less are one: moving weight between them changes nothing.
_TINY = 1e-12


@full_precision
@torch.no_grad()
def min_norm_weights(gradients: Tensor, *, tolerance: float = 0.6, normalize: bool = False) -> Tensor:
    """The weights of the shortest combination: min ‖Σ α_n g_n‖², Σ α_n = 1, 0 ≤ α_n ≤ C; (N,).

    Its negative is a direction in which no teacher's loss grows, as far as C lets one teacher outweigh the
    others. Du et al., Agree to Disagree: Adaptive Ensemble Knowledge Distillation in Gradient Space, 2020.
    Solved by sequential minimal optimization: each step moves weight from the teacher with the steepest slope
    to the one that gains most by it, as much as is best for the two.

    Args:
        gradients: of N teachers, (N, D).
        tolerance: C, positive; below 1/N it is 1/N, and all weigh alike.
        normalize: solve for the gradients' directions, and divide each weight by its gradient's length.

    Raises:
        ValueError: other shapes, or a tolerance that is not positive.
    """
    check_positive(tolerance=tolerance)
    if gradients.ndim != 2 or len(gradients) == 0:
        raise UserError(f"gradients must be (N, D), N at least 1, got {tuple(gradients.shape)}")
    number = len(gradients)
    lengths = torch.linalg.vector_norm(gradients, dim=1)
    lengths = lengths.masked_fill(lengths == 0, 1.0)
    vectors = gradients / (lengths[:, None] if normalize else lengths.max())
    gram, limit = vectors @ vectors.T, max(tolerance, 1 / number)
    weights = gram.new_full((number,), 1 / number)
    for _ in range(_STEPS * number if number > 1 else 0):
        slope = gram @ weights
        giver = slope.masked_fill(weights <= 0, -torch.inf).argmax(keepdim=True)
        drop = (slope[giver] - slope).clamp(min=0)
        bend = gram.diagonal() + gram.diagonal()[giver] - 2 * gram[giver][0]
        room = torch.minimum(limit - weights, weights[giver]).clamp(min=0)
        step = torch.minimum(drop / bend.clamp(min=_TINY), room)
        taker = (step * (drop - step * bend / 2)).argmax(keepdim=True)
        weights = weights.index_add(0, taker, step[taker]).index_add(0, giver, -step[taker])
    weights = weights / lengths if normalize else weights
    return weights / weights.sum()


@full_precision
def aekd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    temperature: float = 4.0,
    tolerance: float = 0.6,
    normalize: bool = False,
) -> Tensor:
    """Σ_n α_n · T² · KL(teacher n ‖ student) with the `min_norm_weights` α of the gradients; a scalar.

    The gradients are those by the student's logits, averaged over the samples of all ranks. None goes through
    α. `kd` if there is one teacher.

    Args:
        student_logits: (B, C), or (B, C, H, W) of a segmenter: the mean is over all positions.
        teacher_logits: (N, B, C, …).
        temperature: T, positive.
        tolerance, normalize: as for `min_norm_weights`.
    """
    losses = torch.stack([softened_kl(student_logits, t, temperature).mean() for t in teacher_logits])
    with torch.no_grad():  # of T · KL by the logits
        ours, theirs = (student_logits / temperature).softmax(1), (teacher_logits / temperature).softmax(2)
        gradients = (ours - theirs).sum(1).flatten(1)
    return _together(losses, gradients, tolerance=tolerance, normalize=normalize)


def _together(losses: Tensor, gradients: Tensor, *, tolerance: float, normalize: bool) -> Tensor:
    """Losses (N,) weighted by gradients (N, D), sums over the samples of this rank."""
    gradients = average(gradients)
    return min_norm_weights(gradients, tolerance=tolerance, normalize=normalize).to(losses) @ losses


class HintsAndGradients(nn.Module):
    """The `fitnet` loss of each teacher, (N,), and its gradient by the student's map, the sum over the
    samples, (N, C·H·W), without a graph.

    The gradients are taken here, where the student's map is: an objective sees no more than what is compared.

    Args:
        specs: one for each teacher, with a map of that number.
        hint: which of the maps, stem 0; negative from the last.
    """

    def __init__(self, specs: Sequence[FeatureSpec], hint: int) -> None:
        super().__init__()
        self.hint = hint
        hints = [Hint(spec, hint, method="aekd-hint") for spec in specs]
        self.each = nn.ModuleList(hints)
        self.reads = tuple(each.reads for each in hints)

    def forward(self, student: Outputs, teachers: Sequence[Outputs]) -> tuple[Tensor, Tensor]:
        losses = torch.stack([fitnet(*f(student, t)) for f, t in zip(self.each, teachers, strict=True)])
        seen = student.maps[self.hint]
        if not losses.requires_grad:
            return losses, losses.new_zeros(len(losses), 1)
        # Of sums, not of means: ranks with shared batch-norm statistics add up what they send back.
        sums = losses * len(seen)
        found = [torch.autograd.grad(each, [seen], retain_graph=True)[0] for each in sums]
        return losses, torch.stack([gradient.sum(0).flatten() for gradient in found])


def make_aekd(
    specs: Sequence[FeatureSpec],
    *,
    weight: NonNegative = 0.9,
    temperature: Positive = 4.0,
    tolerance: Positive = 0.6,
    normalize: bool = False,
) -> Term:
    """Adaptive ensemble distillation (`aekd`) of the logits.

    Args:
        specs: of teachers with the same classes.
        weight: published, beside a whole cross-entropy.
        temperature: T.
        tolerance: C; 1 lets a single teacher decide, 1/N or less is the mean of all.
        normalize: weigh by the gradients' directions.
    """
    check_classes(specs, "aekd")
    projector = TogetherLogits(select_logits(specs[0], "aekd", dense=True), len(specs))
    loss = partial(aekd, temperature=temperature, tolerance=tolerance, normalize=normalize)
    return Term(projector, StatelessLoss(loss), weight=weight)


def make_aekd_hint(
    specs: Sequence[FeatureSpec],
    *,
    weight: NonNegative = 100.0,
    hint: int = 2,
    tolerance: Positive = 0.6,
    normalize: bool = True,
) -> Term:
    """Adaptive ensemble distillation of one map: the hints of `fitnet`, through a `FitNetRegressor` for each
    teacher, weighted by the gradients by the student's map.

    Args:
        specs: one for each teacher, with a map of that number.
        weight: published.
        hint: which of the maps, stem 0; negative from the last.
        tolerance: C, as for `aekd`.
        normalize: weigh by the gradients' directions, as the published code does for maps.
    """
    loss = partial(_together, tolerance=tolerance, normalize=normalize)
    return Term(HintsAndGradients(specs, hint), StatelessLoss(loss), weight=weight)
