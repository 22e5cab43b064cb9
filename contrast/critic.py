"""The critic of one direction: objective, temperature and the constant Z that NCE divides e^{s/τ} by."""

import math
from collections.abc import Callable
from typing import Any, get_args

import torch
from torch import Tensor, nn

from .checks import check_choice, check_positive
from .config import DEFAULT_TEACHER_TEMPERATURE, Objective
from .distributed import gather, world_size
from .objectives import Rule
from .relations import contrast_relations
from .scores import contrast, log_sum_exp


class Critic(nn.Module):
    """One direction: the objective, its temperature and, for NCE, its Z.

    Args:
        num_samples: M.
        temperature: τ, positive.
        objective: "nce", "infonce" or "relational".
        teacher_temperature: τ_t of "relational", positive.
    """

    def __init__(
        self,
        num_samples: int,
        *,
        temperature: float,
        objective: str,
        teacher_temperature: float = DEFAULT_TEACHER_TEMPERATURE,
    ) -> None:
        super().__init__()
        check_positive(temperature=temperature, teacher_temperature=teacher_temperature)
        check_choice("objective", objective, get_args(Objective))
        self.num_samples = num_samples
        self.temperature, self.teacher_temperature = temperature, teacher_temperature
        self.is_relational = objective == "relational"
        self.partition = LogPartition(num_samples) if objective == "nce" else None

    def forward(
        self,
        z: Tensor,
        positive: Tensor,
        candidates: Tensor,
        *,
        num_negatives: int | Tensor,
        weight: float = 1.0,
        **selection: Tensor,
    ) -> Tensor:
        """The mean loss of the anchors, a scalar.

        Args:
            z: anchors, (B, d).
            positive: their counterparts, (B, d); for "relational" the teacher's own vectors, which give the
                targets.
            candidates: candidates for negatives, (N, d).
            num_negatives: K of log(K/M); below 1 it counts as 1.
            weight: negative pairs per column, as in `objectives.nce`.
            selection: `columns`, `anchor_ids`, `candidate_ids` of `scores.contrast`.
        """
        if self.is_relational:
            return contrast_relations(
                z,
                positive,
                candidates,
                temperature=self.temperature,
                teacher_temperature=self.teacher_temperature,
                weight=weight,
                **selection,
            )
        if self.partition is None:
            rule = Rule("infonce", self.temperature, weight=weight)
            return contrast(rule, z, positive, candidates, **selection)
        log_z = self.partition(
            lambda: log_sum_exp(
                z, positive, candidates, temperature=self.temperature, weight=weight, **selection
            )
        )
        if isinstance(num_negatives, Tensor):
            log_ratio: Tensor | float = num_negatives.clamp(min=1).log() - math.log(self.num_samples)
        else:
            log_ratio = math.log(max(num_negatives, 1) / self.num_samples)
        rule = Rule("nce", self.temperature, log_z + log_ratio, weight)
        return contrast(rule, z, positive, candidates, **selection)


class LogPartition(nn.Module):
    """log Z of one direction: mean(e^{s/τ})·M over the first training batch, positives included; then fixed.

    Scores of all ranks enter the mean. Before the first training batch (a loss in eval mode) Z is the
    batch's own and is not kept; nor is it from a batch without a negative, or with a score that is
    not finite.

    Args:
        num_samples: M.
    """

    log_z: Tensor
    fixed: Tensor

    def __init__(self, num_samples: int) -> None:
        super().__init__()
        self.num_samples = num_samples
        self.register_buffer("log_z", torch.zeros(()))
        self.register_buffer("fixed", torch.zeros((), dtype=torch.bool))
        # Only a note that the buffer need not be asked again, which on a GPU would wait for the device.
        self._known = False

    def forward(self, estimate: Callable[[], tuple[Tensor, Tensor, Tensor]]) -> Tensor:
        """log Z, a scalar.

        Args:
            estimate: gives the logarithm of the sum of e^{s/τ}, the number of positives and the number of
                negative pairs (`scores.log_sum_exp`); called until Z is fixed.
        """
        if not self._known:
            self._known = bool(self.fixed)
        if self._known:
            return self.log_z
        one_each = [1] * world_size()
        log_sum, num_positives, num_negatives = (gather(x.reshape(1), one_each) for x in estimate())
        num_negatives = num_negatives.sum()
        count = num_positives.sum() + num_negatives
        log_z = torch.logsumexp(log_sum, dim=0) - count.log() + math.log(self.num_samples)
        if self.training:
            finite = log_z.isfinite()
            self.log_z.copy_(log_z.where(finite, self.log_z.to(log_z.dtype)))
            self.fixed.copy_(finite & (num_negatives > 0))
        return log_z

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._known = False
