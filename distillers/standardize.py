"""A teacher's features with mean 0 and variance 1: targets that weigh every channel alike."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..common import UserError
from ..contrast import check_positive, gather, rows_of_ranks

#: No channel is stretched by more than 1/√ of this beside the others: one that hardly ever fires is noise.
_FLOOR = 1e-4
_TINY = 1e-12

#: Calls between two looks at whether the statistics are complete, for which a GPU has to wait.
_INTERVAL = 50

StandardizeMode = bool | Literal["phi-s"]
"""Whether a teacher's features are standardized (`Standardize`); "phi-s" rotates them as well."""


class Standardize(nn.Module):
    """(x − μ)/σ for each channel of a teacher's features, by running statistics of its own.

    μ and σ² are those of all training samples so far, over all ranks and positions and weighed alike, until
    `num_samples` have been seen: the first epoch. From then on they are fixed, so that the targets are, too.
    They are buffers with the same bits on every rank. In eval mode they are used as they are; before the
    first batch they are 0 and 1. A batch that is not finite is passed over.

    With `rotate` the features are first turned so that every channel has the same variance, and one scalar σ
    divides all of them: PHI-S (Ranzinger et al., PHI-S: Distribution Balancing for Label-Free Multi-Teacher
    Distillation, 2024), x → (H Uᵀ x − μ)/σ with the eigenvectors U of the covariance and a Hadamard matrix H.
    Distances are then those of the features themselves, up to σ. The rotation is that of the first batch's
    covariance and stays, as a target that turns cannot be learned. A Hadamard matrix exists for a power of
    two; for other widths plane rotations make the variances equal (`equal_variances`).

    Args:
        channels: C.
        num_samples: M, samples of an epoch.
        rotate: PHI-S instead of a σ for each channel.

    Shapes:
        (B, C) or (B, C, H, W) to the same shape, fp32 or wider.
    """

    mean: Tensor
    variance: Tensor
    count: Tensor
    rotation: Tensor | None

    def __init__(self, channels: int, num_samples: int, *, rotate: bool = False) -> None:
        super().__init__()
        check_positive(channels=channels, num_samples=num_samples)
        self.num_samples = num_samples
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("rotation", torch.eye(channels) if rotate else None)
        self._forget()

    def _forget(self) -> None:
        # Only notes of what the buffers say, so that they need not be asked in every step.
        self._calls, self._has_started, self._is_complete = 0, False, False

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """The standardized features; a teacher's have no gradient."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.detach().to(torch.promote_types(x.dtype, torch.float32))
            if self.rotation is not None:
                if self.training and not self._has_started:
                    self._turn(x)
                x = (x.movedim(1, -1) @ self.rotation.to(x.dtype)).movedim(-1, 1)
            if self.training and not self._is_complete:
                self._take_in(x)
            level = self.variance.mean()
            variance = level if self.rotation is not None else self.variance.clamp(min=_FLOOR * level)
            scale = (variance + _TINY).rsqrt().expand_as(self.mean)
            shape = (-1, *[1] * (x.ndim - 2))
            return (x - self.mean.view(shape)) * scale.view(shape)

    def _take_in(self, x: Tensor) -> None:
        """Add a batch of all ranks to the statistics, while they are not complete."""
        rows = rows_of_ranks(x)
        batch = sum(rows)
        variance, mean = torch.var_mean(x, dim=[0, *range(2, x.ndim)], correction=0)
        means, variances = gather(torch.stack([mean, variance]).unsqueeze(0), [1] * len(rows)).unbind(1)
        parts = [(count / batch, *part) for count, *part in zip(rows, means, variances, strict=True)]
        mean = torch.stack([share * m for share, m, _ in parts]).sum(0)
        variance = torch.stack([share * (v + (m - mean).square()) for share, m, v in parts]).sum(0)
        wanted = (self.count < self.num_samples) & mean.isfinite().all() & variance.isfinite().all()
        rate = batch / (self.count + batch)
        step = mean - self.mean
        spread = (1 - rate) * self.variance + rate * variance + rate * (1 - rate) * step.square()
        self.variance.copy_(spread.where(wanted, self.variance))
        self.mean.copy_((self.mean + rate * step).where(wanted, self.mean))
        self.count.add_(batch * wanted)
        self._calls += 1
        if self._calls % _INTERVAL == 0:  # the same call on every rank, which all of them gather in
            self._is_complete = bool(self.count >= self.num_samples)

    def _turn(self, x: Tensor) -> None:
        """Fix the rotation by the first batch of all ranks."""
        self._has_started = bool(self.count > 0)
        if self._has_started or self.rotation is None:
            return
        flat = x.movedim(1, -1).flatten(0, -2).double()
        ranks = [1] * len(rows_of_ranks(x))
        sums = torch.cat([flat.sum(0, keepdim=True), flat.T @ flat])
        total, products = gather(sums.unsqueeze(0), ranks).sum(0).split([1, len(sums) - 1])
        count = gather(flat.new_tensor([len(flat)]), ranks).sum()
        covariance = products / count - total.T @ total / count**2
        if not covariance.isfinite().all():
            return
        values, vectors = torch.linalg.eigh(covariance)
        rotation = vectors @ equal_variances(values).T
        # Another processor may find other vectors for the same matrix: all take the first rank's.
        self.rotation.copy_(gather(rotation.unsqueeze(0), ranks)[0])
        self._has_started = True

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._forget()


def equal_variances(values: Tensor) -> Tensor:
    """An orthogonal matrix Q that gives uncorrelated features of these variances one common variance.

    The diagonal of Q diag(values) Qᵀ is constant, their mean. For a power of two Q is Sylvester's Hadamard
    matrix over √C; for other widths C − 1 rotations each bring one of two features to the mean, one above and
    one below it, as the theorem of Schur and Horn says they can.

    Args:
        values: the variances, (C,), in ascending order.

    Returns:
        (C, C).
    """
    size = len(values)
    if size & (size - 1) == 0:
        hadamard = values.new_ones(1, 1)
        while len(hadamard) < size:
            hadamard = torch.kron(values.new_tensor([[1, 1], [1, -1]]), hadamard)
        return hadamard / size**0.5
    left, mean = values.tolist(), float(values.mean())
    rows = torch.eye(size, dtype=values.dtype, device=values.device)
    low, high, carried = 1, size - 1, 0
    found = torch.empty_like(rows)
    row, value = rows[carried], left[carried]
    for place in range(size - 1):
        # The rest is on average on the other side of the mean.
        other = high if value <= mean else low
        low, high = (low, high - 1) if other == high else (low + 1, high)
        gap = left[other] - value
        share = min(1.0, max(0.0, (mean - value) / gap)) if gap else 0.0
        sine, cosine = share**0.5, (1 - share) ** 0.5
        found[place] = cosine * row + sine * rows[other]
        row, value = cosine * rows[other] - sine * row, value + left[other] - mean
    found[-1] = row
    return found


def standardizer(channels: int, num_samples: int, standardize: StandardizeMode) -> nn.Module:
    """What a setting `standardize` asks for: nothing, `Standardize`, or with "phi-s" its rotation.

    Raises:
        ValueError: for another word.
    """
    if standardize not in (True, False, "phi-s"):
        raise UserError(f"standardize must be True, False or 'phi-s', got {standardize!r}")
    return Standardize(channels, num_samples, rotate=standardize == "phi-s") if standardize else nn.Identity()
