"""The pool of teachers: judged before anything is distilled, and drawn from."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..engine import derive_seed
from ..evaluation import calibration_error, disagreement, divergence
from ..models import Outputs
from ..transfer import Teacher, TeacherTargets


class EnsembleMean(nn.Module):
    """What several classifiers predict together: logits are the logarithm of their mean probability.

    Args:
        teachers: of one modality.
    """

    def __init__(self, teachers: Sequence[Teacher]) -> None:
        super().__init__()
        self.targets = TeacherTargets(teachers)
        self.modality = teachers[0].modality

    def forward(self, images: Tensor) -> Outputs:
        """The mean's logits (B, C) and the first teacher's embedding."""
        outputs = self.targets({self.modality: images})
        return Outputs(mean_logits(torch.stack([o.logits for o in outputs])), (), outputs[0].embedding)


def mean_logits(logits: Tensor) -> Tensor:
    """Logarithm of the mean probability, (B, C), of logits (N, B, C); in fp32 or wider."""
    log_p = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(2)
    return log_p.logsumexp(0) - torch.tensor(float(len(logits))).log()


def describe(teachers: Sequence[Teacher], logits: Tensor, label: Tensor) -> dict[str, Any]:
    """What a person wants to know of a pool before it teaches.

    Args:
        teachers: N of them.
        logits: theirs for some images, (N, M, C).
        label: (M,).

    Returns:
        `members`: name, top1, calibration_error of each · `ensemble`: both of the mean of their
        probabilities, and the means of what is `disputed` · `disagreement` and `divergence`: (N, N) as lists.
    """

    def judged(name: str, rows: Tensor) -> dict[str, Any]:
        return {
            "name": name,
            "top1": float((rows.argmax(1) == label).double().mean()),
            "calibration_error": calibration_error(rows.double().softmax(1), label),
        }

    return {
        "members": [judged(teacher.name, rows) for teacher, rows in zip(teachers, logits, strict=True)],
        "ensemble": judged("ensemble", mean_logits(logits))
        | {name: float(share.mean()) for name, share in disputed(logits, label).items()},
        "disagreement": disagreement(logits).tolist(),
        "divergence": divergence(logits).tolist(),
    }


def disputed(logits: Tensor, label: Tensor) -> dict[str, Tensor]:
    """Where all together decide otherwise than a member: the share of the members that are `corrected`, wrong
    where all together are right, and `overruled`, right where all together are wrong; each (M,) float64.

    Args:
        logits: of N members for M samples, (N, M, C).
        label: (M,).
    """
    right = (logits.argmax(2) == label).double().mean(0)
    together = mean_logits(logits).argmax(1) == label
    return {"corrected": (1 - right) * together, "overruled": right * ~together}


def right_where_disputed(right: Tensor, disputes: Mapping[str, Tensor]) -> dict[str, float]:
    """How often a student is right where all of a pool together have `corrected` a member, and where they
    have `overruled` one: a student that follows them always has 1 and 0. Means over the members; without what
    never happens.

    Args:
        right: whether the student names the label, (M,) bool.
        disputes: as `disputed` gives them.
    """
    return {
        name: float((share * right).sum() / share.sum()) for name, share in disputes.items() if share.any()
    }


def draw_subset(size: int, number: int, subset_seed: int) -> tuple[int, ...]:
    """`number` of `size` teachers, in the order of a permutation that `subset_seed` decides."""
    generator = torch.Generator().manual_seed(derive_seed("draw", subset_seed))
    return tuple(torch.randperm(size, generator=generator)[:number].tolist())
