"""Modalities and labeled images that fit in memory, on any device, served a whole batch at a time."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ..common import require_memory
from .batch import IGNORE, Batch, BatchDataset, DataError
from .reading import read_in_order, upload

BLOCK = 32
"""Samples that are decoded and stored at a time."""


class PairedTensors(BatchDataset):
    """A data set in memory: `rgb` (N, 3, H, W) uint8, `depth` (N, 1, H, W) float32, `label` (N, H, W) uint8.

    Any set of names will do, each at its own size: a uint8 tensor of four axes holds 0–255 and is served in
    [0, 1], other floating tensors (NaN for no reading) are served as they are in float32, integer tensors of
    one or three axes as int64 labels.
    `__getitems__` makes the batch with one gather a modality, so the loader has nothing to collate. After
    `to(device)` it does so on that device: a step copies B row numbers, and no worker is needed.

    Raises:
        DataError: modalities that differ in number.
    """

    def __init__(self, **modalities: Tensor) -> None:
        if not modalities:
            raise DataError("PairedTensors needs at least one modality, got none")
        if "index" in modalities:
            raise DataError("index is made here, row by row; it cannot be a modality")
        counts = {name: len(modality) for name, modality in modalities.items()}
        if len(set(counts.values())) != 1:
            raise DataError(f"the modalities differ in number: {counts}")
        self.tensors = modalities
        self.num_classes: int | None = None
        self.class_names: tuple[str, ...] = ()
        self.folds: tuple[Tensor, ...] = ()
        """Predefined parts of a training split, the rows of each."""

    @classmethod
    def from_dataset(cls, dataset: Any, *, num_workers: int = 0) -> "PairedTensors":
        """Read a whole data set once. `rgb` is rounded to 8 bits, which is what image files hold.

        Args:
            dataset: `__len__` and `__getitem__`; its samples have one size (pass `size` to it where files
                differ). What it draws at random would be drawn once: pass one that draws nothing.
            num_workers: processes that decode; 0 for this one.
        """
        modalities: dict[str, Tensor] = {}
        start = 0
        for block in stored_blocks(dataset, num_workers=num_workers):
            stop = start + len(next(iter(block.values())))
            for name, rows in block.items():
                if name not in modalities:
                    what = f"{name} of {len(dataset)} samples, {tuple(rows.shape[1:])} each,"
                    size = len(dataset) * rows[0].nbytes
                    require_memory(size, what, "lower its size, or take fewer samples")
                    modalities[name] = torch.empty((len(dataset), *rows.shape[1:]), dtype=rows.dtype)
                modalities[name][start:stop] = rows
            start = stop
        result = PairedTensors(**modalities)
        result.num_classes = getattr(dataset, "num_classes", None)
        result.class_names = getattr(dataset, "class_names", ())
        return result

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        index = upload(torch.as_tensor(indices, dtype=torch.int64), self.device)
        batch = {"index": index}
        for name, modality in self.tensors.items():
            batch[name] = to_serve(modality[index])
        return batch

    @property
    def device(self) -> torch.device:
        """Where the modalities are, and the batches are made."""
        return next(iter(self.tensors.values())).device

    @property
    def labels(self) -> Tensor:
        """The label of every image, (N,) int64. Raises `DataError` where there is not one an image."""
        label = self.tensors.get("label")
        if label is None or label.ndim != 1:
            found = "no labels" if label is None else f"labels of shape {tuple(label.shape)}"
            raise DataError(f"the data set has {found}, expected one label an image")
        return label.to(torch.int64)

    def to(self, device: torch.device | str) -> "PairedTensors":
        """The data set with its modalities on `device`, where batches are then made.

        A loader must read it in its own process (`num_workers=0`), and must not pin what is on a device.
        """
        return self._with({name: x.to(device) for name, x in self.tensors.items()}, folds=self.folds)

    def subset(self, indices: Sequence[int] | Tensor) -> "PairedTensors":
        """These rows as a data set of their own, whose `index` is 0 … len(indices) - 1.

        Renumbered so that a memory with one row a sample has no rows that nobody writes.
        """
        rows = torch.as_tensor(indices, dtype=torch.int64)
        if rows.numel() and (int(rows.min()) < 0 or int(rows.max()) >= len(self)):
            raise DataError(f"rows from {int(rows.min())} to {int(rows.max())} of a set of {len(self)}")
        rows = rows.to(self.device)
        return self._with({name: modality[rows] for name, modality in self.tensors.items()})

    def select(self, *names: str) -> "PairedTensors":
        """Only these modalities, without a copy: the transfer stage must not see labels."""
        missing = [name for name in names if name not in self.tensors]
        if missing:
            raise DataError(f"no modality {missing[0]!r}; there are {', '.join(self.tensors)}")
        return self._with({name: self.tensors[name] for name in names}, folds=self.folds)

    def _with(self, modalities: dict[str, Tensor], folds: tuple[Tensor, ...] = ()) -> "PairedTensors":
        result = PairedTensors(**modalities)
        result.num_classes, result.class_names, result.folds = self.num_classes, self.class_names, folds
        return result


def stored_blocks(dataset: Any, *, num_workers: int = 0) -> Iterator[dict[str, Tensor]]:
    """Read a data set in its order, in blocks of rows as they are stored: modalities without `index`.

    Raises:
        DataError: samples that differ in their modalities or sizes; label maps with classes beyond 8 bits.
    """
    first: dict[str, tuple[int, ...]] = {}
    for batch in read_in_order(dataset, BLOCK, num_workers=num_workers):
        shapes = {name: tuple(rows.shape[1:]) for name, rows in batch.items() if name != "index"}
        first = first or shapes
        for name in first.keys() | shapes.keys():
            if shapes.get(name) != first.get(name):
                raise DataError(
                    f"{name} of sample {int(batch['index'][0])} is {shapes.get(name, 'absent')}, of sample 0 "
                    f"{first.get(name, 'absent')}; pass size=(height, width) to the data set"
                )
        yield {name: to_store(name, batch[name]) for name in shapes}


def to_store(name: str, rows: Tensor) -> Tensor:
    """Convert a batch of a modality to the type that is stored: 8 bits for `rgb` and label maps.

    Raises:
        DataError: a label map has classes beyond 8 bits.
    """
    if name == "label" and rows.ndim > 1:
        low, high = int(rows.min()), int(rows.max())
        if low < 0 or high > IGNORE:
            raise DataError(
                f"labels from {low} to {high}: a label map has classes from 0 to {IGNORE - 1}, and {IGNORE} "
                "for pixels to ignore"
            )
        return rows.to(torch.uint8)
    return (rows * 255).round_().to(torch.uint8) if name == "rgb" else rows


def to_serve(rows: Tensor) -> Tensor:
    """Convert stored rows to a batch: floats in float32, labels in int64."""
    if rows.dtype == torch.uint8 and rows.ndim == 4:
        return rows.to(torch.float32).div_(255)
    return rows.to(torch.float32 if rows.is_floating_point() else torch.int64)
