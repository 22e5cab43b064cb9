"""Mean and standard deviation of each modality, measured once on a training split and kept with the model."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..common import write_json
from .batch import DataError
from .holes import readings
from .reading import rank_and_ranks, read_in_order


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of each channel of each modality, in the modality's own units."""

    mean: Mapping[str, tuple[float, ...]]
    """Modality to one mean a channel, over pixels with a reading; of `depth` in meters."""
    std: Mapping[str, tuple[float, ...]]
    """Modality to one standard deviation a channel, over the same pixels."""

    @classmethod
    def measure(cls, dataset: Any, *, batch_size: int = 64, num_workers: int = 0) -> "Statistics":
        """Over every pixel with a reading (`depth`: above 0, others: not NaN) of every floating modality.

        Sums are kept in float64, shifted by the first batch's mean, so that they do not cancel. The ranks of
        torch.distributed read a part each, and all get the same figures.

        Args:
            num_workers: processes that read, on each rank; none for a data set on a device.
        """
        totals: dict[str, _Moments] = {}
        for batch in read_in_order(dataset, batch_size, num_workers=num_workers, sharded=True):
            for name, modality in batch.items():
                if modality.is_floating_point():
                    totals.setdefault(name, _Moments()).add(modality, readings(name, modality))
        results = {name: moments.result(name) for name, moments in _of_all_ranks(totals).items()}
        if not results:
            raise DataError(f"no floating modality in a data set of {len(dataset)} samples")
        return cls(
            mean={name: mean for name, (mean, _) in results.items()},
            std={name: std for name, (_, std) in results.items()},
        )

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Statistics":
        """What `as_dict` gave, from JSON. Raises `KeyError`, `TypeError` or `ValueError` for anything
        else."""
        mean, std = (
            {str(name): tuple(float(v) for v in values) for name, values in content[key].items()}
            for key in ("mean", "std")
        )
        return cls(mean=mean, std=std)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write as JSON."""
        write_json(path, self.as_dict())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Statistics":
        """Read what `save` wrote. Raises `DataError` for anything else."""
        try:
            return cls.from_dict(json.loads(Path(path).read_text()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(f"{path}: no statistics that Statistics.save wrote ({error!r})") from error


class Normalize(nn.Module):
    """(modality - mean) / std with the figures as buffers, so that a saved model carries them.

    Holes are kept apart: a pixel without reading (0 in `depth`, NaN elsewhere) becomes 0, the mean.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, statistics: Statistics, modality: str) -> None:
        super().__init__()
        if modality not in statistics.mean:
            raise DataError(f"no statistics of {modality!r}; there are {', '.join(statistics.mean)}")
        mean, std = torch.tensor(statistics.mean[modality]), torch.tensor(statistics.std[modality])
        if not bool((std > 0).all()):
            raise DataError(f"{modality}: the standard deviation must be positive, got {tuple(std.tolist())}")
        self.register_buffer("mean", mean.view(-1, 1, 1))
        self.register_buffer("std", std.view(-1, 1, 1))
        self.modality = modality

    def forward(self, modality: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape, zero mean and unit deviation over the training split."""
        normalized = (modality - self.mean) / self.std
        valid = readings(self.modality, modality)
        return normalized if valid is None else torch.where(valid, normalized, 0.0)


class _Moments:
    """Running count, sum and sum of squares per channel."""

    def __init__(self) -> None:
        self.shift: Tensor | None = None
        self.count = torch.zeros((), dtype=torch.float64)
        self.total = torch.zeros((), dtype=torch.float64)
        self.square = torch.zeros((), dtype=torch.float64)

    def add(self, modality: Tensor, mask: Tensor | None) -> None:
        """(B, C, H, W) values, and booleans (B, 1, H, W) if only some pixels count."""
        axes = (0, 2, 3)
        values = modality.to("cpu", torch.float64, copy=True)
        if mask is None:
            weight = None
            count = torch.full((values.shape[1],), values.numel() / values.shape[1], dtype=torch.float64)
        else:
            weight = mask.to("cpu", torch.float64).expand_as(values)
            values.masked_fill_(weight == 0, 0.0)
            count = weight.sum(axes)
        if self.shift is None:
            self.shift = values.sum(axes, keepdim=True) / count.clamp_min(1).view(1, -1, 1, 1)
        centered = values.sub_(self.shift)  # in place: such arrays cost more to allocate than to fill
        if weight is not None:
            centered.mul_(weight)
        self.count = self.count + count
        self.total = self.total + centered.sum(axes)
        self.square = self.square + centered.square_().sum(axes)

    def merge(self, other: "_Moments") -> None:
        """Add what another rank has seen, moved to the shift of this one."""
        if other.shift is None:
            return
        if self.shift is None:
            self.__dict__ |= other.__dict__
            return
        gap = (other.shift - self.shift).flatten()
        self.square = self.square + other.square + 2 * gap * other.total + gap.square() * other.count
        self.total = self.total + other.total + gap * other.count
        self.count = self.count + other.count

    def result(self, name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
        if self.shift is None or bool((self.count == 0).any()):
            raise DataError(f"{name}: no pixel has a reading")
        offset = self.total / self.count
        variance = (self.square / self.count - offset.square()).clamp_min(0)
        return tuple((self.shift.flatten() + offset).tolist()), tuple(variance.sqrt().tolist())


def _of_all_ranks(totals: dict[str, _Moments]) -> dict[str, _Moments]:
    """The moments of all ranks together, the same on each; without process group as they are."""
    ranks: list[dict[str, _Moments]] = [{}] * rank_and_ranks()[1]
    if len(ranks) == 1:
        return totals
    torch.distributed.all_gather_object(ranks, totals)
    merged: dict[str, _Moments] = {}
    for rank in ranks:
        for name, moments in rank.items():
            merged.setdefault(name, _Moments()).merge(moments)
    return merged
