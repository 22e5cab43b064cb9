"""The base of the data sets that read several modalities of a sample from files."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch.utils.data import Dataset

from ..common import UserError, nearest
from ..data import IGNORE, DataError, Encoding, Sample, check_modality, modality_tensor
from ..data.io.arrays import Array
from ..data.io.decode import Size, check_size
from .alignment import fit_aspect, load_homography, same_aspect, warp_homography

Sizes: TypeAlias = Size | Mapping[str, Size] | None
"""(height, width) of all modalities, or of each by name (`label` among them), or None for those stored."""


class PairedDataset(Dataset[Sample], ABC):
    """Modalities of the same samples, pixel for pixel.

    A subclass says how many samples there are and reads one as arrays; here they are aligned with the first
    (aspects compared, `fit` or `homography` of its encoding applied), checked (ranges, equal sizes), resized
    and made tensors. Every error names the sample.
    """

    def __init__(
        self, *, size: Sizes, num_classes: int | None, encodings: Mapping[str, Encoding] | None = None
    ) -> None:
        self.size = (
            {name: _sides(name, side) for name, side in size.items()}
            if isinstance(size, Mapping)
            else check_size(size)
        )
        if num_classes is not None and num_classes > IGNORE:
            raise DataError(f"{num_classes} classes: a label map has at most {IGNORE}, {IGNORE} is ignored")
        self.num_classes = num_classes
        self.encodings = dict(encodings or {})
        self._homographies = {
            name: load_homography(encoding.homography)
            for name, encoding in self.encodings.items()
            if encoding.homography is not None
        }

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
        arrays = self._aligned(index, self._read(index))
        self._check(index, arrays)
        sample = {"index": torch.tensor(index)}
        for name, array in arrays.items():
            sample[name] = modality_tensor(name, array, self._size(name))
        return sample

    def _aligned(self, index: int, arrays: dict[str, Array]) -> dict[str, Array]:
        """The modalities with the aspect of the first, as their encodings say."""
        reference, shape = self._reference(index, arrays)
        result = {}
        for name, array in arrays.items():
            encoding = self.encodings.get(name, Encoding())
            if name in self._homographies:
                array = warp_homography(array, name, self._homographies[name], (shape[0], shape[1]))
            elif not same_aspect(array.shape, shape) and encoding.fit is not None:
                array = fit_aspect(array, name, encoding.fit, shape)
            elif not same_aspect(array.shape, shape) and self.size is not None:
                (h, w), (h_0, w_0) = array.shape[:2], (shape[0], shape[1])
                raise DataError(
                    f"{self._where(index, name)} is {h}×{w} and {self._where(index, reference)} is "
                    f"{h_0}×{w_0}: two aspects, so pixels do not pair. Turn one if it lies on its side; "
                    f"else set {name}.fit to crop, pad or stretch, or {name}.homography"
                )
            result[name] = array
        return result

    def _reference(self, index: int, arrays: dict[str, Array]) -> tuple[str, tuple[int, ...]]:
        """The modality that the others are aligned with, and its shape."""
        name = next(iter(arrays))
        return name, arrays[name].shape

    def _check(self, index: int, arrays: dict[str, Array]) -> None:
        """Ranges and sizes as they are stored: resizing could hide a wrong pixel."""
        for name, array in arrays.items():
            check_modality(name, array, self.num_classes, self._where(index, name))
        if self.size is None:
            self._check_sizes(index, arrays)

    def _size(self, name: str) -> Size | None:
        if not isinstance(self.size, dict):
            return self.size
        if name not in self.size:
            raise UserError(f"size has none for {name!r}; {nearest(name, self.size)}")
        return self.size[name]

    def _check_sizes(self, index: int, arrays: dict[str, Array]) -> None:
        sizes = {name: array.shape[:2] for name, array in arrays.items()}
        if len(set(sizes.values())) > 1:
            listed = ", ".join(f"{self._where(index, name)} is {h}×{w}" for name, (h, w) in sizes.items())
            raise DataError(f"the modalities differ in size: {listed}; pass size=(height, width)")


def _sides(name: str, size: Size) -> Size:
    """The size of one modality, checked."""
    sides = check_size(size)
    if sides is None:
        raise UserError(f"the size of {name} must be (height, width), got None")
    return sides
