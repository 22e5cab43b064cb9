"""The map of a teacher that positions are compared with."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..models import Outputs
from .spec import FeatureSpec, Shape, map_at
from .standardize import StandardizeMode, standardizer


class DenseTarget(nn.Module):
    """One of a teacher's maps, or its hypercolumn if that map is coarser than the student's.

    The hypercolumn (Hariharan et al., 2015) is the maps from the student's number of rows down, resized to
    the finest of them and stacked: a classifier's last map alone has hardly any positions. A segmenter's
    last map is a fused one already.

    Args:
        spec: of both networks.
        number: of the map, negative from the last.
        method: for the message.
        hypercolumn: whether a coarser map is replaced.
        standardize: the channels of what is compared, as for `standardizer`.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        number: int,
        method: str,
        *,
        hypercolumn: bool,
        standardize: StandardizeMode = False,
    ) -> None:
        super().__init__()
        student, teacher = map_at(spec, method, number)
        maps = spec.teacher.maps
        own = range(len(maps))[number]
        self.numbers: tuple[int, ...] = (own,)
        if hypercolumn and teacher[1] < student[1]:
            self.numbers = tuple(i for i, (_, rows, _) in enumerate(maps) if rows <= student[1])
        _, height, width = maps[self.numbers[0]]
        self.shape: Shape = (sum(maps[i][0] for i in self.numbers), height, width)
        self.standardize = standardizer(self.shape[0], spec.num_samples, standardize)
        self.reads = frozenset(f"maps.{i}" for i in self.numbers)

    def forward(self, teacher: Outputs) -> Tensor:
        """(B, *shape)."""
        finest, *others = (teacher.maps[i] for i in self.numbers)
        if others:
            finest = torch.cat([finest, *(on_grid(x, finest) for x in others)], dim=1)
        target: Tensor = self.standardize(finest)
        return target


def on_grid(x: Tensor, other: Tensor) -> Tensor:
    """The map (B, C, H, W) resized to the rows and columns of another."""
    size = other.shape[-2:]
    if x.shape[-2:] == size:
        return x
    return F.interpolate(x, size, mode="bilinear", align_corners=False)
