"""What a critic does while it trains: figures to log, and a warning where it learns nothing."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .distributed import average, is_first_rank, world_size

#: Calls over which the running means reach back. A warning needs more calls than these, and two epochs: in
#: the first one the positive pair of a bank is a row that was never written.
_WINDOW = 25
_INTERVAL = 50
_EPOCHS = 2

#: At most so many vectors of a batch are compared with one another: the figures are means, not results.
_SAMPLE = 512

#: A critic knows no more than a constant one if its loss is no lower than this share of the constant one's,
#: and it orders hardly more pairs of the batch than a coin.
_PLATEAU, _CHANCE = 0.97, 0.6
#: It tells pairs by their age if its loss is clearly lower, and it orders the batch's own pairs like a coin.
_BELOW, _BLIND = 0.9, 0.52
#: What to take against a constant critic, before "lower learning rate".
_REMEDIES = {
    "nce": "objective='infonce' with negatives='batch', a",
    "infonce": "a",
    "relational": "a lower teacher_temperature, a",
}


class Monitor(nn.Module):
    """Running means over the latest training batches (some 25): loss, scores, and the critic's accuracy.

    Scores are those of the batch against itself, both sides as they are now: no memory, so that age plays no
    part. The accuracy is the share of negatives that score below the positive of their sample: 0.5 for
    a critic that knows nothing, 1 for one that always knows; a tie counts half. Nothing waits for a GPU but
    `figures`, and a look every 50 calls.

    Args:
        objective: "nce", "infonce" or "relational".
        num_samples: M, if it is known: a warning waits for two epochs.
    """

    means: Tensor
    count: Tensor

    def __init__(self, objective: str, num_samples: int = 0) -> None:
        super().__init__()
        self.objective, self.num_samples = objective, num_samples
        self.register_buffer("means", torch.zeros(4))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self._calls, self._samples, self._told = 0, 0, False  # they only decide when to look

    @torch.no_grad()
    def record(
        self, loss: Tensor, pairs: Tensor, batch_size: int, num_negatives: Callable[[], Tensor | float]
    ) -> None:
        """Take in a training batch; one that is not finite, or has no negative pair, is passed over.

        Args:
            loss: of both directions, a scalar.
            pairs: as `compare` gives them, (3,).
            batch_size: samples of this rank.
            num_negatives: gives the negative pairs that an anchor met, if they are asked for.
        """
        values = average(torch.cat([loss.detach().reshape(1).to(pairs.dtype), pairs])).to(self.means.dtype)
        valid = values.isfinite().all()
        self.count.add_(valid)
        rate = valid / self.count.clamp(min=1, max=_WINDOW)
        self.means.add_(rate * (values.where(valid, 0.0) - self.means))
        self._calls += 1
        self._samples += batch_size * world_size()
        if not self._told and self._calls % _INTERVAL == 0 and self._samples >= _EPOCHS * self.num_samples:
            self._look(float(num_negatives()))

    def figures(self) -> dict[str, float]:
        """`true_score`, `noise_score`: mean cosines of the true and of the negative pairs; `critic_accuracy`.
        Empty before the first training batch."""
        if not self.count:
            return {}
        _, true, negative, accuracy = self.means.tolist()
        return {"true_score": true, "noise_score": negative, "critic_accuracy": accuracy}

    def _look(self, num_negatives: float) -> None:
        if num_negatives <= 0 or self.count < _INTERVAL:
            return
        loss, true, negative, accuracy = self.means.tolist()
        constant = constant_loss(num_negatives, self.objective)
        seen = f"over the latest batches positives score {true:.3f}, negatives {negative:.3f} on average"
        if loss > _PLATEAU * constant and accuracy < _CHANCE:
            other = _REMEDIES[self.objective]
            message = (
                f"the critic is constant: its loss {loss:.2f} is not below the {constant:.2f} of one that "
                f"gives all pairs one score ({num_negatives:.0f} negatives each), and {seen}. Nothing is "
                f"transferred. Take {other} lower learning rate or a warmup, and see that student, "
                "teacher and index belong to the same samples"
            )
        elif self.objective != "relational" and loss < _BELOW * constant and accuracy < _BLIND:
            message = (
                f"the critic tells old vectors from new ones, not samples: its loss is {loss:.2f}, below the "
                f"{constant:.2f} of a constant one, yet {seen}, pairs of the same age. Take negatives from "
                "the batch (negatives='batch', queue_size=0), a shorter queue or a lower learning rate"
            )
        else:
            return
        self._told = True
        if is_first_rank():
            warnings.warn(message, stacklevel=4)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # States of earlier releases have no figures.
        for name, buffer in self.named_buffers():
            state_dict.setdefault(prefix + name, torch.zeros_like(buffer))
        super()._load_from_state_dict(state_dict, prefix, *args)


@torch.no_grad()
def compare(
    z: Tensor, positive: Tensor, candidates: Tensor, anchor_ids: Tensor, candidate_ids: Tensor
) -> Tensor:
    """Return the mean scores of the batch's own positives and negatives, and the share of the negatives that
    score below the positive of their anchor; (3,), NaN without a negative.

    Args:
        z: anchors, (N, d); of more than some 500 a part is looked at.
        positive: their counterparts, (N, d).
        candidates: the other side's vectors, (P, d).
        anchor_ids, candidate_ids: ids of anchors and candidates, (N,) and (P,).
    """
    step, noise_step = (math.ceil(len(x) / _SAMPLE) for x in (z, candidates))
    dtype = torch.promote_types(z.dtype, torch.float32)
    z, positive, candidates = (x.to(dtype) for x in (z[::step], positive[::step], candidates[::noise_step]))
    with torch.autocast(z.device.type, enabled=False):
        true, scores = (z * positive).sum(dim=1), z @ candidates.T
    is_noise = anchor_ids[::step].unsqueeze(1) != candidate_ids[::noise_step]
    count = is_noise.sum()
    below = torch.sign(true.unsqueeze(1) - scores).add_(1).mul_(0.5)
    return torch.stack([true.mean(), (scores * is_noise).sum() / count, (below * is_noise).sum() / count])


def constant_loss(num_negatives: float, objective: str) -> float:
    """The best loss, both directions added, of a critic that gives all pairs one score.

    Args:
        num_negatives: negative pairs of an anchor, K > 0.
        objective: "nce": 2·(log(K+1) + K·log(1 + 1/K)); "infonce": 2·log(K+1); "relational", which has one
            direction: log(K+1).
    """
    if objective == "relational":
        return math.log1p(num_negatives)
    of_noise = num_negatives * math.log1p(1 / num_negatives) if objective == "nce" else 0.0
    return 2 * (math.log1p(num_negatives) + of_noise)


def count_negatives(
    candidates: Tensor,
    *,
    columns: Tensor | None = None,
    anchor_ids: Tensor | None = None,
    candidate_ids: Tensor | None = None,
) -> Tensor | float:
    """The negative pairs of an anchor on average; arguments as of `scores.contrast`."""
    if columns is not None:
        return float(columns.shape[1])
    if anchor_ids is None or candidate_ids is None:
        return len(candidates) - 1.0
    met = (anchor_ids.unsqueeze(1) != candidate_ids) & (candidate_ids >= 0)
    return met.sum() / len(anchor_ids)
