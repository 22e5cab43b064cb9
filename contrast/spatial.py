"""Contrast of feature maps: positions against global vectors, and positions against positions.

Both go through `scores.contrast` and the objectives, as the instance contrast does; a position is an anchor.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .checks import check_finite, check_maps, check_positive
from .config import DEFAULT_TEACHER_TEMPERATURE
from .critic import Critic
from .distributed import gather, rows_of_ranks, world_size
from .maps import grid, positions, spread
from .memory import RecentVectors
from .monitor import Monitor, compare, count_negatives
from .negatives import SampleIds

#: Positions of an image whose scores are among the figures of a `Monitor`.
_COMPARED = 16


class _MapContrast(nn.Module):
    """Both directions of a contrast of maps with their queues; no weights: all state is buffers."""

    keeps_samples = False  # a queue has no row of a sample

    def __init__(
        self,
        embed_dim: int,
        queue_size: int,
        temperature: float,
        objective: str,
        teacher_temperature: float,
        groups: Tensor | None,
    ) -> None:
        super().__init__()
        self.samples, self.monitor = SampleIds(groups), Monitor(objective)
        rule: dict[str, Any] = {"temperature": temperature, "objective": objective}
        self.student = _Direction(embed_dim, queue_size, **rule, teacher_temperature=teacher_temperature)
        self.teacher = None if objective == "relational" else _Direction(embed_dim, queue_size, **rule)

    def diagnostics(self) -> dict[str, float]:
        """Return the critic's figures over the latest training batches (`Monitor.figures`)."""
        return self.monitor.figures()

    def _push(self, index: Tensor, z_s: Tensor, z_t: Tensor) -> None:
        """Push the vectors of all ranks, of the samples `index`, into both queues."""
        rows = rows_of_ranks(index)
        index, z_s, z_t = (gather(x, rows) for x in (index, z_s, z_t))
        check_finite(index, student=z_s, teacher=z_t)
        ids = self.samples(index)
        self.student.push(ids, z_t)
        if self.teacher is not None:
            self.teacher.push(ids, z_s)


class LocalGlobalContrast(_MapContrast):
    """Local features of one side against global vectors of the other (Deep InfoMax; Tian et al., 2020, NYU).

    Each position of the student's map is scored against its image's global teacher vector, the positive pair,
    and against other images' global teacher vectors, the negatives; and each position of the teacher's map
    against the student's global vectors. The negatives are the rest of the batch, over all ranks and with
    gradients, and, where asked for, a queue of global vectors of earlier batches. Each direction is a mean
    over positions, and both are added. No weights: all state is buffers.

    With objective="relational" each position of the student's map, and its global vector, must be as near to
    the global teacher vectors as its image's own one is; the loss is the mean of these two. The teacher's map
    is not read, and no gradient reaches its side.

    Beware of a queue that outweighs the batch while the learning rate is high: age alone tells its vectors
    from the positive pairs (docs/contrast.md, Memory).

    Args:
        embed_dim: d.
        queue_size: global vectors that the queue of each side holds; 0 for the batch alone.
        temperature: τ.
        objective: "nce", "infonce" or "relational".
        teacher_temperature: τ_t of "relational".
        groups: the recording or scene of every sample, (M,): images of the same group are no negatives.
    """

    def __init__(
        self,
        embed_dim: int = 128,
        *,
        queue_size: int = 0,
        temperature: float = 0.07,
        objective: str = "nce",
        teacher_temperature: float = DEFAULT_TEACHER_TEMPERATURE,
        groups: Tensor | None = None,
    ) -> None:
        super().__init__(embed_dim, queue_size, temperature, objective, teacher_temperature, groups)

    def forward(
        self, z_s_map: Tensor, z_s_global: Tensor, z_t_map: Tensor, z_t_global: Tensor, index: Tensor
    ) -> Tensor:
        """The loss of a batch, a scalar; reads the queues and leaves them as they are (but fixes Z once).

        Args:
            z_s_map: the student's positions, unit vectors along dim 1, (B, d, H, W).
            z_s_global: the student's global unit vectors, (B, d).
            z_t_map: the teacher's positions, (B, d, H', W'); the size may differ from the student's.
            z_t_global: the teacher's global unit vectors, (B, d).
            index: the samples' rows in the data set, (B,) int64, not negative.
        """
        check_maps(index, maps=(z_s_map, z_t_map), vectors=(z_s_global, z_t_global))
        _refuse_nonfinite(index, student=z_s_map, teacher=z_t_map)
        _refuse_nonfinite(index, student=z_s_global, teacher=z_t_global)
        ids = self.samples(index)
        rows = rows_of_ranks(ids)
        candidate_ids = gather(ids, rows)
        student: Tensor = self.student(
            z_s_map, spread(z_t_global, z_s_map), ids, z_t_global, candidate_ids, rows
        )
        whole = z_s_global[:, :, None, None]
        if self.teacher is None:
            loss = (student + self.student(whole, z_t_global, ids, z_t_global, candidate_ids, rows)) / 2
        else:
            loss = student + self.teacher(
                z_t_map, spread(z_s_global, z_t_map), ids, z_s_global, candidate_ids, rows
            )
        if self.training:
            other = (whole, z_t_global) if self.teacher is None else (z_t_map, z_s_global)
            pairs = _compare(z_s_map, z_t_global, ids) + _compare(*other, ids)
            self.monitor.record(
                loss, pairs / 2, len(ids), lambda: self.student.num_negatives(ids, candidate_ids)
            )
        return loss

    @torch.no_grad()
    def update(self, index: Tensor, z_s_global: Tensor, z_t_global: Tensor) -> None:
        """Push the global vectors of all ranks into both queues, the same on every rank.

        What is not finite is refused on a CPU, with the queues as they were, and passed over on a GPU.
        """
        check_maps(index, vectors=(z_s_global, z_t_global))
        self._push(index, z_s_global, z_t_global)


class DenseContrast(_MapContrast):
    """Each position of one side's map against the same position of the other side's.

    The positive is the same position of the same image. The negatives are the other side's positions of
    the other images of the batch, over all ranks and with gradients, and a queue of positions of earlier
    batches, but for those of the same image. Every position is an anchor, while `num_positions` of an image
    serve as negatives and enter the queue: anchors carry the signal, negatives only estimate a sum. Each
    direction is a mean over positions, and both are added. No weights: all state is buffers.

    With objective="relational" a position of the student must be as near to the teacher's positions as the
    teacher's own of the same place is: a direction alone, and no gradient to the teacher's side.

    Args:
        embed_dim: d.
        queue_size: positions that the queue of each side holds; 0 for the batch alone.
        num_positions: most positions of an image that are negatives, on a grid (`grid`) that in training mode
            moves at random; None for all.
        temperature: τ.
        objective: "nce", "infonce" or "relational".
        teacher_temperature: τ_t of "relational".
        groups: the recording or scene of every sample, (M,): images of the same group are no negatives.
    """

    def __init__(
        self,
        embed_dim: int = 128,
        *,
        queue_size: int = 4096,
        num_positions: int | None = 64,
        temperature: float = 0.07,
        objective: str = "nce",
        teacher_temperature: float = DEFAULT_TEACHER_TEMPERATURE,
        groups: Tensor | None = None,
    ) -> None:
        if num_positions is not None:
            check_positive(num_positions=num_positions)
        super().__init__(embed_dim, queue_size, temperature, objective, teacher_temperature, groups)
        self.num_positions = num_positions

    def forward(self, z_s_map: Tensor, z_t_map: Tensor, index: Tensor) -> Tensor:
        """The loss of a batch, a scalar; reads the queues and leaves them as they are (but fixes Z once).

        Args:
            z_s_map: the student's positions, unit vectors along dim 1, (B, d, H, W).
            z_t_map: the teacher's positions, of the same shape.
            index: the samples' rows in the data set, (B,) int64, not negative.
        """
        candidates_s, candidates_t, places = self._candidates(z_s_map, z_t_map, index)
        _refuse_nonfinite(index, student=z_s_map, teacher=z_t_map)
        ids, negative_ids = self.samples(index), self.samples(places)
        rows = rows_of_ranks(negative_ids)
        candidate_ids = gather(negative_ids, rows)
        loss: Tensor = self.student(z_s_map, positions(z_t_map), ids, candidates_t, candidate_ids, rows)
        if self.teacher is not None:
            loss = loss + self.teacher(z_t_map, positions(z_s_map), ids, candidates_s, candidate_ids, rows)
        if self.training:
            pairs = compare(candidates_s, candidates_t, candidates_t, negative_ids, negative_ids)
            pairs = pairs + compare(candidates_t, candidates_s, candidates_s, negative_ids, negative_ids)
            self.monitor.record(
                loss, pairs / 2, len(ids), lambda: self.student.num_negatives(ids, candidate_ids)
            )
        return loss

    @torch.no_grad()
    def update(self, index: Tensor, z_s_map: Tensor, z_t_map: Tensor) -> None:
        """Push positions of all ranks into both queues, the same on every rank.

        What is not finite is refused on a CPU, with the queues as they were, and passed over on a GPU.
        """
        candidates_s, candidates_t, index = self._candidates(z_s_map, z_t_map, index)
        self._push(index, candidates_s, candidates_t)

    def _candidates(self, z_s_map: Tensor, z_t_map: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return both sides' candidates of this rank, (B·P, d), and their images' rows, (B·P,)."""
        check_maps(index, maps=(z_s_map, z_t_map))
        if z_s_map.shape != z_t_map.shape:
            raise ValueError(
                f"both maps must have one shape, got {tuple(z_s_map.shape)} and {tuple(z_t_map.shape)}; "
                "resize the features before the heads"
            )
        height, width = z_s_map.shape[2:]
        rows, columns = grid(height, width, self.num_positions, shift=self.training)
        z_s, z_t = positions(z_s_map[:, :, rows, columns]), positions(z_t_map[:, :, rows, columns])
        return z_s, z_t, index.repeat_interleave(len(z_s) // len(index))


class _Direction(RecentVectors):
    """The positions of one side against vectors of the other: those of the batch, then those of a queue.

    For NCE the number of samples cancels out of log Z + log(K/M); it counts as 1.
    """

    def __init__(self, embed_dim: int, queue_size: int, **rule: Any) -> None:
        super().__init__(embed_dim, queue_size)
        self.critic = Critic(1, **rule)

    def forward(
        self,
        z_map: Tensor,
        positive: Tensor,
        ids: Tensor,
        candidates: Tensor,
        candidate_ids: Tensor,
        rows: Sequence[int],
    ) -> Tensor:
        """The mean loss of all positions, a scalar.

        Args:
            z_map: anchors, (B, d, H, W).
            positive: their counterparts, (B·H·W, d).
            ids: id of each map, (B,).
            candidates: the other side's vectors on this rank, as many for each image, (B·P, d).
            candidate_ids: id of each such vector, over all ranks.
            rows: number of candidates on each rank.
        """
        batch_size, of_image = len(ids), len(candidates) // len(ids)
        candidates, candidate_ids = self.candidates(candidates, rows), self.candidate_ids(candidate_ids)
        loss: Tensor = self.critic(
            positions(z_map),
            positive,
            candidates,
            # K is what an anchor meets where no image repeats: the queue fills up over the first batches.
            num_negatives=(candidate_ids >= 0).sum() - of_image,
            anchor_ids=ids.repeat_interleave(len(positive) // batch_size),
            candidate_ids=candidate_ids,
        )
        return loss

    def num_negatives(self, ids: Tensor, candidate_ids: Tensor) -> Tensor | float:
        """Return the number of negatives of a position on average; arguments as of `forward`."""
        candidate_ids = self.candidate_ids(candidate_ids)
        return count_negatives(candidate_ids, anchor_ids=ids, candidate_ids=candidate_ids)


def _compare(z_map: Tensor, vectors: Tensor, ids: Tensor) -> Tensor:
    """`compare` of some positions of each map (B, d, H, W) with the other side's vectors (B, d)."""
    height, width = z_map.shape[2:]
    rows, columns = grid(height, width, _COMPARED)
    z = positions(z_map[:, :, rows, columns])
    each = len(z) // len(ids)
    anchors, counterparts = ids.repeat_interleave(each), vectors.repeat_interleave(each, dim=0)
    return compare(z, counterparts, vectors, anchors, ids)


def _refuse_nonfinite(index: Tensor, **sides: Tensor) -> None:
    if world_size() == 1:  # one rank of several must not leave the others waiting
        check_finite(index, **sides)
