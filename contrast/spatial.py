"""Contrast of feature maps: positions against global vectors, and positions against positions.

Both go through `scores.contrast` and the objectives, as the instance contrast does; a position is an anchor.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .checks import check_finite, check_maps, check_positive
from .critic import TEACHER_TEMPERATURE, Critic
from .distributed import gather, rows_of_ranks, world_size
from .maps import grid, positions, spread
from .memory import Latest
from .monitor import Monitor, compare, count_negatives
from .negatives import Owners

#: Positions of an image whose scores are among the figures of a `Monitor`.
_COMPARED = 16


class LocalGlobalContrast(nn.Module):
    """Local features of one side against global vectors of the other (Deep InfoMax; Tian et al., 2020, NYU).

    Each position of the student's map is scored against its image's global teacher vector, the true pair,
    and against other images' global teacher vectors, the noise; and each position of the teacher's map
    against the student's global vectors. The noise is the rest of the batch, over all ranks and with
    gradients, and, where asked for, a queue of global vectors of earlier batches. Each direction is a mean
    over positions, and both are added. No weights: all state is buffers.

    With objective="relational" each position of the student's map, and its global vector, must be as near to
    the global teacher vectors as its image's own one is; the loss is the mean of these two. The teacher's map
    is not read, and no gradient reaches its side.

    Beware of a queue that outweighs the batch while the learning rate is high: age alone tells its vectors
    from the true pairs (docs/contrast.md, Memory).

    Args:
        embed_dim: d.
        queue_size: global vectors that the queue of each side holds; 0 for the batch alone.
        temperature: τ.
        objective: "nce", "infonce" or "relational".
        teacher_temperature: τ_t of "relational".
        groups: the recording or scene of every sample, (M,): images of the own one are no noise.
    """

    keeps_samples = False  # a queue has no row of a sample

    def __init__(
        self,
        embed_dim: int = 128,
        *,
        queue_size: int = 0,
        temperature: float = 0.07,
        objective: str = "nce",
        teacher_temperature: float = TEACHER_TEMPERATURE,
        groups: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.owners, self.monitor = Owners(groups), Monitor(objective)
        rule: dict[str, Any] = {"temperature": temperature, "objective": objective}
        self.student = _Direction(embed_dim, queue_size, **rule, teacher_temperature=teacher_temperature)
        self.teacher = None if objective == "relational" else _Direction(embed_dim, queue_size, **rule)

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
        own = self.owners(index)
        rows = rows_of_ranks(own)
        owners = gather(own, rows)
        student: Tensor = self.student(z_s_map, spread(z_t_global, z_s_map), own, z_t_global, owners, rows)
        whole = z_s_global[:, :, None, None]
        if self.teacher is None:
            loss = (student + self.student(whole, z_t_global, own, z_t_global, owners, rows)) / 2
        else:
            loss = student + self.teacher(z_t_map, spread(z_s_global, z_t_map), own, z_s_global, owners, rows)
        if self.training:
            other = (whole, z_t_global) if self.teacher is None else (z_t_map, z_s_global)
            pairs = _compare(z_s_map, z_t_global, own) + _compare(*other, own)
            self.monitor.record(loss, pairs / 2, len(own), lambda: self.student.num_negatives(own, owners))
        return loss

    def diagnostics(self) -> dict[str, float]:
        """What the critic does, over the latest training batches (`Monitor.figures`)."""
        return self.monitor.figures()

    @torch.no_grad()
    def update(self, index: Tensor, z_s_global: Tensor, z_t_global: Tensor) -> None:
        """Push the global vectors of all ranks into both queues, the same on every rank.

        What is not finite is refused on a CPU, with the queues as they were, and passed over on a GPU.
        """
        check_maps(index, vectors=(z_s_global, z_t_global))
        rows = rows_of_ranks(index)
        index, z_s, z_t = (gather(x, rows) for x in (index, z_s_global, z_t_global))
        check_finite(index, student=z_s, teacher=z_t)
        owners = self.owners(index)
        self.student.push(owners, z_t)
        if self.teacher is not None:
            self.teacher.push(owners, z_s)


class DenseContrast(nn.Module):
    """Each position of one side's map against the same position of the other side's.

    The true pair is the same position of the same image. The noise is the other side's positions of the
    other images of the batch, over all ranks and with gradients, and a queue of positions of earlier
    batches, but for those of the same image. Every position is an anchor, while `num_positions` of an image
    serve as noise and enter the queue: anchors carry the signal, noise only estimates a sum. Each direction
    is a mean over positions, and both are added. No weights: all state is buffers.

    With objective="relational" a position of the student must be as near to the teacher's positions as the
    teacher's own of the same place is: a direction alone, and no gradient to the teacher's side.

    Args:
        embed_dim: d.
        queue_size: positions that the queue of each side holds; 0 for the batch alone.
        num_positions: at most so many positions of an image are noise, on a grid (`grid`) that in training
            mode moves at random; all where None.
        temperature: τ.
        objective: "nce", "infonce" or "relational".
        teacher_temperature: τ_t of "relational".
        groups: the recording or scene of every sample, (M,): images of the own one are no noise.
    """

    keeps_samples = False  # a queue has no row of a sample

    def __init__(
        self,
        embed_dim: int = 128,
        *,
        queue_size: int = 4096,
        num_positions: int | None = 64,
        temperature: float = 0.07,
        objective: str = "nce",
        teacher_temperature: float = TEACHER_TEMPERATURE,
        groups: Tensor | None = None,
    ) -> None:
        super().__init__()
        if num_positions is not None:
            check_positive(num_positions=num_positions)
        self.num_positions = num_positions
        self.owners, self.monitor = Owners(groups), Monitor(objective)
        rule: dict[str, Any] = {"temperature": temperature, "objective": objective}
        self.student = _Direction(embed_dim, queue_size, **rule, teacher_temperature=teacher_temperature)
        self.teacher = None if objective == "relational" else _Direction(embed_dim, queue_size, **rule)

    def forward(self, z_s_map: Tensor, z_t_map: Tensor, index: Tensor) -> Tensor:
        """The loss of a batch, a scalar; reads the queues and leaves them as they are (but fixes Z once).

        Args:
            z_s_map: the student's positions, unit vectors along dim 1, (B, d, H, W).
            z_t_map: the teacher's positions, of the same shape.
            index: the samples' rows in the data set, (B,) int64, not negative.
        """
        noise_s, noise_t, places = self._noise(z_s_map, z_t_map, index)
        _refuse_nonfinite(index, student=z_s_map, teacher=z_t_map)
        own, of_noise = self.owners(index), self.owners(places)
        rows = rows_of_ranks(of_noise)
        owners = gather(of_noise, rows)
        loss: Tensor = self.student(z_s_map, positions(z_t_map), own, noise_t, owners, rows)
        if self.teacher is not None:
            loss = loss + self.teacher(z_t_map, positions(z_s_map), own, noise_s, owners, rows)
        if self.training:
            pairs = compare(noise_s, noise_t, noise_t, of_noise, of_noise)
            pairs = pairs + compare(noise_t, noise_s, noise_s, of_noise, of_noise)
            self.monitor.record(loss, pairs / 2, len(own), lambda: self.student.num_negatives(own, owners))
        return loss

    def diagnostics(self) -> dict[str, float]:
        """What the critic does, over the latest training batches (`Monitor.figures`)."""
        return self.monitor.figures()

    @torch.no_grad()
    def update(self, index: Tensor, z_s_map: Tensor, z_t_map: Tensor) -> None:
        """Push positions of all ranks into both queues, the same on every rank.

        What is not finite is refused on a CPU, with the queues as they were, and passed over on a GPU.
        """
        noise = self._noise(z_s_map, z_t_map, index)
        rows = rows_of_ranks(noise[0])
        noise_s, noise_t, places = (gather(x, rows) for x in noise)
        check_finite(places, student=noise_s, teacher=noise_t)
        owners = self.owners(places)
        self.student.push(owners, noise_t)
        if self.teacher is not None:
            self.teacher.push(owners, noise_s)

    def _noise(self, z_s_map: Tensor, z_t_map: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Both sides' noise of this rank (B·P, d), and the images it is from, (B·P,)."""
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


class _Direction(Latest):
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
        own: Tensor,
        noise: Tensor,
        noise_owner: Tensor,
        rows: Sequence[int],
    ) -> Tensor:
        """The mean loss of all positions, a scalar.

        Args:
            z_map: anchors, (B, d, H, W).
            positive: their counterparts, (B·H·W, d).
            own: who each map belongs to, (B,).
            noise: the other side's vectors on this rank, as many for each image, (B·P, d).
            noise_owner: who each such vector belongs to, over all ranks.
            rows: vectors of noise on each rank.
        """
        batch_size, of_image = len(own), len(noise) // len(own)
        noise, noise_owner = self.noise(noise, rows), self.of_noise(noise_owner)
        loss: Tensor = self.critic(
            positions(z_map),
            positive,
            noise,
            # K is what an anchor meets where no image repeats: the queue fills up over the first batches.
            num_negatives=(noise_owner >= 0).sum() - of_image,
            owner=own.repeat_interleave(len(positive) // batch_size),
            noise_owner=noise_owner,
        )
        return loss

    def num_negatives(self, own: Tensor, noise_owner: Tensor) -> Tensor | float:
        """The noise pairs of a position on average; arguments as of `forward`."""
        noise_owner = self.of_noise(noise_owner)
        return count_negatives(noise_owner, owner=own, noise_owner=noise_owner)


def _compare(z_map: Tensor, vectors: Tensor, own: Tensor) -> Tensor:
    """`compare` of some positions of each map (B, d, H, W) with the other side's vectors (B, d)."""
    height, width = z_map.shape[2:]
    rows, columns = grid(height, width, _COMPARED)
    z = positions(z_map[:, :, rows, columns])
    each = len(z) // len(own)
    anchors, counterparts = own.repeat_interleave(each), vectors.repeat_interleave(each, dim=0)
    return compare(z, counterparts, vectors, anchors, own)


def _refuse_nonfinite(index: Tensor, **sides: Tensor) -> None:
    if world_size() == 1:  # one rank of several must not leave the others waiting
        check_finite(index, **sides)
