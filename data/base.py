"""The base of the data sets that read several modalities of a sample from files."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.utils.data import Dataset

from .batch import IGNORE, DataError, Sample
from .io.decode import (
    Array,
    Size,
    check_color,
    check_depth,
    check_label,
    check_size,
    color_tensor,
    depth_tensor,
    label_tensor,
    resize_color,
    resize_depth,
    resize_label,
)


class PairedDataset(Dataset[Sample], ABC):
    """Modalities of the same samples, pixel for pixel.

    A subclass says how many samples there are and reads one as arrays; here they are resized, checked
    (ranges, equal sizes) and made tensors. Every error names the sample.
    """

    def __init__(self, *, size: Size | None, num_classes: int | None) -> None:
        self.size = check_size(size)
        if num_classes is not None and num_classes > IGNORE:
            raise DataError(f"{num_classes} classes: a label map has at most {IGNORE}, {IGNORE} is ignored")
        self.num_classes = num_classes

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def _read(self, index: int) -> dict[str, Array]:
        """The modalities of sample `index`: (H, W[, C]) arrays, depth in meters, labels with `IGNORE`."""

    @abstractmethod
    def _where(self, index: int, modality: str) -> str:
        """Where the modality comes from, for a message: file and sample."""

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} of a data set of {len(self)} samples")
        arrays = self._read(index)
        self._check(index, arrays)
        sample = {"index": torch.tensor(index)}
        for name, array in arrays.items():
            sample[name] = self._tensor(name, array)
        return sample

    def _check(self, index: int, arrays: dict[str, Array]) -> None:
        """Ranges and sizes as they are stored: resizing could hide a wrong pixel."""
        for name, array in arrays.items():
            if name == "depth":
                check_depth(array, self._where(index, name))
            elif name == "label":
                check_label(array, self.num_classes, self._where(index, name))
            else:
                check_color(array, self._where(index, name))
        if self.size is None:
            self._check_sizes(index, arrays)

    def _tensor(self, name: str, array: Array) -> Tensor:
        if name == "depth":
            return depth_tensor(array if self.size is None else resize_depth(array, self.size))
        if name == "label":
            return label_tensor(array if self.size is None else resize_label(array, self.size))
        return color_tensor(array if self.size is None else resize_color(array, self.size))

    def _check_sizes(self, index: int, arrays: dict[str, Array]) -> None:
        sizes = {name: array.shape[:2] for name, array in arrays.items()}
        if len(set(sizes.values())) > 1:
            listed = ", ".join(f"{self._where(index, name)} is {h}×{w}" for name, (h, w) in sizes.items())
            raise DataError(f"the modalities differ in size: {listed}; pass size=(height, width)")
