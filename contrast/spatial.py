"""Contrast of feature maps: positions against global vectors, and positions against positions.

Both go through `scores.contrast` and the objectives, as the instance contrast does; a position is an anchor.
"""

import torch
from torch import Tensor, nn

from .checks import check_maps, check_positive
from .critic import Critic
from .distributed import gather, gather_with_gradient
from .memory import FeatureQueue


class LocalGlobalContrast(nn.Module):
    """Local features of one side against global vectors of the other (Deep InfoMax; Tian et al., 2020, NYU).

    Each position of the student's map is scored against its image's global teacher vector, the true pair,
    and against other images' global teacher vectors, the noise; and each position of the teacher's map
    against the student's global vectors. The noise is the rest of the batch, over all ranks and with
    gradients, and, where asked for, a queue of global vectors of earlier batches. Each direction is a mean
    over positions, and both are added. No weights: all state is buffers.

    Beware of a queue that outweighs the batch while the learning rate is high: age alone tells its vectors
    from the true pairs (docs/contrast.md, Memory).

    Args:
        embed_dim: d.
        queue_size: global vectors that the queue of each side holds; 0 for the batch alone.
        temperature: τ.
        objective: "nce" or "infonce".
    """

    def __init__(
        self, embed_dim: int = 128, *, queue_size: int = 0, temperature: float = 0.07, objective: str = "nce"
    ) -> None:
        super().__init__()
        self.student = _Direction(embed_dim, queue_size, temperature, objective)
        self.teacher = _Direction(embed_dim, queue_size, temperature, objective)

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
        owners = gather(index)
        student: Tensor = self.student(z_s_map, _spread(z_t_global, z_s_map), index, z_t_global, owners)
        teacher: Tensor = self.teacher(z_t_map, _spread(z_s_global, z_t_map), index, z_s_global, owners)
        return student + teacher

    @torch.no_grad()
    def update(self, index: Tensor, z_s_global: Tensor, z_t_global: Tensor) -> None:
        """Push the global vectors of all ranks into both queues, the same on every rank."""
        check_maps(index, vectors=(z_s_global, z_t_global))
        owners = gather(index)
        self.student.push(owners, z_t_global)
        self.teacher.push(owners, z_s_global)


class DenseContrast(nn.Module):
    """Each position of one side's map against the same position of the other side's.

    The true pair is the same position of the same image. The noise is the other side's positions of the
    other images of the batch, over all ranks and with gradients, and a queue of positions of earlier
    batches, but for those of the same image. Every position is an anchor, while `num_positions` of an image
    serve as noise and enter the queue: anchors carry the signal, noise only estimates a sum. Each direction
    is a mean over positions, and both are added. No weights: all state is buffers.

    Args:
        embed_dim: d.
        queue_size: positions that the queue of each side holds; 0 for the batch alone.
        num_positions: at most so many positions of an image are noise, on a grid (`grid`) that in training
            mode moves at random; all where None.
        temperature: τ.
        objective: "nce" or "infonce".
    """

    def __init__(
        self,
        embed_dim: int = 128,
        *,
        queue_size: int = 4096,
        num_positions: int | None = 64,
        temperature: float = 0.07,
        objective: str = "nce",
    ) -> None:
        super().__init__()
        if num_positions is not None:
            check_positive(num_positions=num_positions)
        self.num_positions = num_positions
        self.student = _Direction(embed_dim, queue_size, temperature, objective)
        self.teacher = _Direction(embed_dim, queue_size, temperature, objective)

    def forward(self, z_s_map: Tensor, z_t_map: Tensor, index: Tensor) -> Tensor:
        """The loss of a batch, a scalar; reads the queues and leaves them as they are (but fixes Z once).

        Args:
            z_s_map: the student's positions, unit vectors along dim 1, (B, d, H, W).
            z_t_map: the teacher's positions, of the same shape.
            index: the samples' rows in the data set, (B,) int64, not negative.
        """
        noise_s, noise_t, owners = self._noise(z_s_map, z_t_map, index)
        student: Tensor = self.student(z_s_map, positions(z_t_map), index, noise_t, owners)
        teacher: Tensor = self.teacher(z_t_map, positions(z_s_map), index, noise_s, owners)
        return student + teacher

    @torch.no_grad()
    def update(self, index: Tensor, z_s_map: Tensor, z_t_map: Tensor) -> None:
        """Push positions of all ranks into both queues, the same on every rank."""
        noise_s, noise_t, owners = self._noise(z_s_map, z_t_map, index)
        self.student.push(owners, noise_t)
        self.teacher.push(owners, noise_s)

    def _noise(self, z_s_map: Tensor, z_t_map: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Both sides' noise of this rank (B·P, d), and the images of the noise of all ranks."""
        check_maps(index, maps=(z_s_map, z_t_map))
        if z_s_map.shape != z_t_map.shape:
            raise ValueError(
                f"both maps must have one shape, got {tuple(z_s_map.shape)} and {tuple(z_t_map.shape)}; "
                "resize the features before the heads"
            )
        height, width = z_s_map.shape[2:]
        rows, columns = grid(height, width, self.num_positions, shift=self.training)
        z_s, z_t = positions(z_s_map[:, :, rows, columns]), positions(z_t_map[:, :, rows, columns])
        return z_s, z_t, gather(index.repeat_interleave(len(z_s) // len(index)))


class _Direction(nn.Module):
    """The positions of one side against vectors of the other: those of the batch, then those of a queue.

    For NCE the number of samples cancels out of log Z + log(K/M); it counts as 1.
    """

    def __init__(self, embed_dim: int, queue_size: int, temperature: float, objective: str) -> None:
        super().__init__()
        check_positive(embed_dim=embed_dim)
        if queue_size < 0:
            raise ValueError(f"queue_size must not be negative, got {queue_size}")
        self.critic = Critic(1, temperature=temperature, objective=objective)
        self.queue = FeatureQueue(queue_size, embed_dim) if queue_size else None

    def forward(
        self, z_map: Tensor, positive: Tensor, index: Tensor, noise: Tensor, noise_owner: Tensor
    ) -> Tensor:
        """The mean loss of all positions, a scalar.

        Args:
            z_map: anchors, (B, d, H, W).
            positive: their counterparts, (B·H·W, d).
            index: the image of each map, (B,).
            noise: the other side's vectors on this rank, as many for each image, (B·P, d).
            noise_owner: the image of each such vector, over all ranks.
        """
        batch_size, own = len(index), len(noise) // len(index)
        noise = gather_with_gradient(noise)
        if self.queue is not None:
            noise = torch.cat([noise, self.queue.rows.to(noise.dtype)])
            noise_owner = torch.cat([noise_owner, self.queue.owner])
        loss: Tensor = self.critic(
            positions(z_map),
            positive,
            noise,
            # K is what an anchor meets where no image repeats: the queue fills up over the first batches.
            num_negatives=(noise_owner >= 0).sum() - own,
            owner=index.repeat_interleave(len(positive) // batch_size),
            noise_owner=noise_owner,
        )
        return loss

    def push(self, owners: Tensor, noise: Tensor) -> None:
        """Add the vectors of all ranks to the queue: `owners` of all ranks, `noise` of this one."""
        if self.queue is not None:
            self.queue.push(owners, gather(noise))


def grid(height: int, width: int, limit: int | None, *, shift: bool = False) -> tuple[slice, slice]:
    """Rows and columns of at most `limit` evenly spaced positions of a map.

    The grid lies in the middle; with `shift` it lies where torch's CPU generator says, so that in time every
    position is drawn. The number of positions does not depend on where.
    """
    step = 1
    while limit is not None and max(1, height // step) * max(1, width // step) > limit:
        step += 1

    def along(length: int) -> slice:
        span = (max(1, length // step) - 1) * step
        places = length - span
        start = int(torch.randint(places, ())) if shift else (places - 1) // 2
        return slice(start, start + span + 1, step)

    return along(height), along(width)


def positions(z_map: Tensor) -> Tensor:
    """The vectors of a map (B, d, H, W), image after image, (B·H·W, d)."""
    return z_map.flatten(2).movedim(1, 2).flatten(0, 1)


def _spread(vectors: Tensor, z_map: Tensor) -> Tensor:
    """A vector of each image (B, d) for every position of its map, (B·H·W, d)."""
    return vectors.repeat_interleave(z_map.shape[2] * z_map.shape[3], dim=0)
