"""What every data set of the package yields, and the error that it raises."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from .errors import DataError as DataError

IGNORE = 255
"""The label of a pixel that no loss and no metric counts."""

Sample: TypeAlias = dict[str, Tensor]
"""One row of a data set: the entries of a `Batch` without their leading dimension."""

Batch: TypeAlias = dict[str, Tensor]
"""Named tensors of B samples. A data set has those of these that it knows, and may have others.

`index` (B,) int64, the stable row number within the data set, 0 … len - 1 ·
`rgb` (B, 3, H, W) float32 in [0, 1] ·
`depth` (B, 1, H, W) float32 in meters, 0 where there is no reading ·
`label` (B, H, W) int64, or (B,) for whole images, `IGNORE` where it does not count.
"""


class BatchDataset(Dataset[Sample], ABC):
    """A data set that makes whole batches at once; a sample is a batch of one."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """The batch of these rows, in their order."""

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} of a data set of {len(self)} samples")
        return {name: value[0] for name, value in self.__getitems__([index]).items()}


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples with the same names and shapes into a batch; numbers become tensors."""
    if not samples:
        raise DataError("a batch needs at least one sample, got none")
    first = {name: getattr(value, "shape", None) for name, value in samples[0].items()}
    for sample in samples[1:]:
        shapes = {name: getattr(value, "shape", None) for name, value in sample.items()}
        if shapes != first:
            row, row_0 = (int(s["index"]) if "index" in s else "?" for s in (sample, samples[0]))
            differing = sorted(n for n in first.keys() | shapes.keys() if first.get(n) != shapes.get(n))
            raise DataError(
                f"samples {row_0} and {row} do not stack: "
                + ", ".join(f"{n} is {_shape(first.get(n))} and {_shape(shapes.get(n))}" for n in differing)
                + "; pass size=(height, width) to the data set"
            )
    batch: Batch = default_collate(list(samples))
    return batch


def _shape(shape: torch.Size | None) -> str:
    return "absent" if shape is None else str(tuple(shape))
