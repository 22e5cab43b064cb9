"""Contrast of feature maps: positions against global vectors, and positions against positions.

Both go through `scores.contrast` and the objectives, as the instance contrast does; a position is an anchor.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .checks import check_maps, check_positive
from .critic import Critic
from .distributed import gather, gather_with_gradient
from .memory import FeatureQueue, MemoryBank
from .negatives import draw_shared


class LocalGlobalContrast(nn.Module):
    """Local features of one side against global vectors of the other (Deep InfoMax; Tian et al., 2020, NYU).

    Each position of the student's map is scored against its image's global teacher vector, the true pair,
    and against other images' global teacher vectors, the noise; and each position of the teacher's map
    against the student's global vectors. The noise is the rest of the batch, over all ranks and with
    gradients, and `num_negatives` rows of a memory of global vectors: one draw for the batch, or every row
    once where that is no more than it. A position passes over its own image's row. Each direction is a mean
    over positions, and both are added. No weights: all state is buffers.

    Args:
        num_samples: M, the length of the data set.
        embed_dim: d.
        num_negatives: rows of the memory in the noise; 0 for the batch alone, without a memory.
        temperature: τ.
        momentum: of the memory's rows.
        objective: "nce" or "infonce".
    """

    def __init__(
        self,
        num_samples: int,
        embed_dim: int = 128,
        *,
        num_negatives: int = 1024,
        temperature: float = 0.07,
        momentum: float = 0.5,
        objective: str = "nce",
    ) -> None:
        super().__init__()
        if num_negatives < 0:
            raise ValueError(f"num_negatives must not be negative, got {num_negatives}")
        if num_samples < 2:
            raise ValueError(f"num_samples must be at least 2, got {num_samples}")
        self.num_samples = num_samples
        self.num_negatives = min(num_negatives, num_samples)
        self.critic_student = Critic(num_samples, temperature=temperature, objective=objective)
        self.critic_teacher = Critic(num_samples, temperature=temperature, objective=objective)
        self.bank_student: MemoryBank | None = None
        self.bank_teacher: MemoryBank | None = None
        if num_negatives > 0:
            self.bank_student = MemoryBank(num_samples, embed_dim, momentum=momentum)
            self.bank_teacher = MemoryBank(num_samples, embed_dim, momentum=momentum)

    def forward(
        self, z_s_map: Tensor, z_s_global: Tensor, z_t_map: Tensor, z_t_global: Tensor, index: Tensor
    ) -> Tensor:
        """The loss of a batch, a scalar; reads the memory and leaves it as it is (but fixes Z once).

        Args:
            z_s_map: the student's positions, unit vectors along dim 1, (B, d, H, W).
            z_s_global: the student's global unit vectors, (B, d).
            z_t_map: the teacher's positions, (B, d, H', W'); the size may differ from the student's.
            z_t_global: the teacher's global unit vectors, (B, d).
            index: the samples' rows in the data set, (B,) int64 in [0, M).
        """
        check_maps(index, self.num_samples, maps=(z_s_map, z_t_map), vectors=(z_s_global, z_t_global))
        owners = gather(index)
        drawn: Tensor | None = None
        if 0 < self.num_negatives < self.num_samples:
            drawn = draw_shared(self.num_negatives, self.num_samples, device=index.device)
        elif self.bank_student is not None:
            drawn = torch.arange(self.num_samples, device=index.device)
        student = self._direction(
            self.critic_student, z_s_map, z_t_global, index, owners, self.bank_teacher, drawn
        )
        teacher = self._direction(
            self.critic_teacher, z_t_map, z_s_global, index, owners, self.bank_student, drawn
        )
        return student + teacher

    def _direction(
        self,
        critic: Critic,
        z_map: Tensor,
        z_global: Tensor,
        index: Tensor,
        owners: Tensor,
        bank: MemoryBank | None,
        drawn: Tensor | None,
    ) -> Tensor:
        anchors = positions(z_map)
        per_image = len(anchors) // len(index)
        noise, noise_owner = gather_with_gradient(z_global), owners
        if bank is not None and drawn is not None:
            rows = bank.rows.index_select(0, drawn).to(noise.dtype)
            noise, noise_owner = torch.cat([noise, rows]), torch.cat([owners, drawn])
        loss: Tensor = critic(
            anchors,
            z_global.repeat_interleave(per_image, dim=0),
            noise,
            num_negatives=len(owners) - 1 + self.num_negatives,
            owner=index.repeat_interleave(per_image),
            noise_owner=noise_owner,
        )
        return loss

    @torch.no_grad()
    def update(self, index: Tensor, z_s_global: Tensor, z_t_global: Tensor) -> None:
        """Write the global vectors of all ranks into both memories, the same on every rank."""
        if self.bank_student is None or self.bank_teacher is None:
            return
        check_maps(index, self.num_samples, vectors=(z_s_global, z_t_global))
        index = gather(index)
        self.bank_student.update(index, gather(z_s_global))
        self.bank_teacher.update(index, gather(z_t_global))


class DenseContrast(nn.Module):
    """Each position of one side's map against the same position of the other side's.

    The true pair is the same position of the same image. The noise is the other side's positions of the
    other images of the batch, over all ranks and with gradients, and a queue of positions of earlier
    batches, but for those of the same image. Every position is an anchor, while `num_positions` of an image
    serve as noise and enter the queue: anchors carry the signal, noise only estimates a sum. Each direction
    is a mean over positions, and both are added. For NCE the number of samples cancels out of
    log Z + log(K/M); it counts as 1. No weights: all state is buffers.

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
        check_positive(embed_dim=embed_dim)
        if queue_size < 0:
            raise ValueError(f"queue_size must not be negative, got {queue_size}")
        if num_positions is not None:
            check_positive(num_positions=num_positions)
        self.num_positions = num_positions
        self.critic_student = Critic(1, temperature=temperature, objective=objective)
        self.critic_teacher = Critic(1, temperature=temperature, objective=objective)
        self.queue_student = FeatureQueue(queue_size, embed_dim) if queue_size else None
        self.queue_teacher = FeatureQueue(queue_size, embed_dim) if queue_size else None

    def forward(self, z_s_map: Tensor, z_t_map: Tensor, index: Tensor) -> Tensor:
        """The loss of a batch, a scalar; reads the queues and leaves them as they are (but fixes Z once).

        Args:
            z_s_map: the student's positions, unit vectors along dim 1, (B, d, H, W).
            z_t_map: the teacher's positions, of the same shape.
            index: the samples' rows in the data set, (B,) int64, not negative.
        """
        noise_s, noise_t, noise_owner = self._noise(z_s_map, z_t_map, index)
        z_s, z_t = positions(z_s_map), positions(z_t_map)
        owner = index.repeat_interleave(len(z_s) // len(index))
        own = len(noise_s) // len(index)
        student = self._direction(
            self.critic_student, z_s, z_t, owner, noise_t, noise_owner, own, self.queue_teacher
        )
        teacher = self._direction(
            self.critic_teacher, z_t, z_s, owner, noise_s, noise_owner, own, self.queue_student
        )
        return student + teacher

    def _direction(
        self,
        critic: Critic,
        z: Tensor,
        positive: Tensor,
        owner: Tensor,
        noise: Tensor,
        noise_owner: Tensor,
        own: int,
        queue: FeatureQueue | None,
    ) -> Tensor:
        noise, noise_owner = gather_with_gradient(noise), gather(noise_owner)
        if queue is not None:
            noise = torch.cat([noise, queue.rows.to(noise.dtype)])
            noise_owner = torch.cat([noise_owner, queue.owner])
        # K is what an anchor meets where no image repeats: the queue fills up over the first batches.
        num_negatives = (noise_owner >= 0).sum() - own
        loss: Tensor = critic(
            z, positive, noise, num_negatives=num_negatives, owner=owner, noise_owner=noise_owner
        )
        return loss

    @torch.no_grad()
    def update(self, index: Tensor, z_s_map: Tensor, z_t_map: Tensor) -> None:
        """Push positions of all ranks into both queues, the same on every rank."""
        if self.queue_student is None or self.queue_teacher is None:
            return
        noise_s, noise_t, owner = self._noise(z_s_map, z_t_map, index)
        owner = gather(owner)
        self.queue_student.push(owner, gather(noise_s))
        self.queue_teacher.push(owner, gather(noise_t))

    def _noise(self, z_s_map: Tensor, z_t_map: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Both sides' noise of this rank (B·P, d), and the image that each belongs to (B·P,)."""
        check_maps(index, None, maps=(z_s_map, z_t_map))
        if z_s_map.shape != z_t_map.shape:
            raise ValueError(
                f"both maps must have one shape, got {tuple(z_s_map.shape)} and {tuple(z_t_map.shape)}; "
                "resize the features before the heads"
            )
        height, width = z_s_map.shape[2:]
        rows, columns = grid(height, width, self.num_positions, shift=self.training)
        z_s, z_t = positions(z_s_map[:, :, rows, columns]), positions(z_t_map[:, :, rows, columns])
        return z_s, z_t, index.repeat_interleave(len(z_s) // len(index))


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
