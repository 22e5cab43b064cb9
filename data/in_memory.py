"""Modalities and labeled images that fit in memory, on any device, served a whole batch at a time."""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ..common import require_memory
from .batch import IGNORE, Batch, BatchDataset, DataError
from .reading import InWorker, received, upload


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
        # A generator of its own: reading must not move the global one that augmentation draws from.
        loader = DataLoader(
            InWorker(dataset), batch_size=None, num_workers=num_workers, generator=torch.Generator()
        )
        modalities: dict[str, Tensor] = {}
        for row, sample in enumerate(map(received, loader)):
            for name, value in sample.items():
                if name == "index":
                    continue
                stored = to_store(name, value)
                if row == 0:
                    what = f"{name} of {len(dataset)} samples, {tuple(stored.shape)} each,"
                    require_memory(
                        len(dataset) * stored.nbytes, what, "lower its size, or take fewer samples"
                    )
                    modalities[name] = torch.empty((len(dataset), *stored.shape), dtype=stored.dtype)
                if name not in modalities or modalities[name].shape[1:] != stored.shape:
                    raise DataError(
                        f"{name} of sample {row} is {tuple(stored.shape)}, of sample 0 "
                        f"{tuple(modalities[name].shape[1:]) if name in modalities else 'absent'}; pass "
                        "size=(height, width) to the data set"
                    )
                modalities[name][row] = stored
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
    def views(self) -> dict[str, Tensor]:
        """The former name of `tensors`."""
        warnings.warn("PairedTensors.views is now PairedTensors.tensors", DeprecationWarning, stacklevel=2)
        return self.tensors

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


def to_store(name: str, value: Tensor, *, batched: bool = False) -> Tensor:
    """What is kept of a sample's modality, or of a batch's: `rgb` and label maps in 8 bits, the rest as it
    is.

    Raises:
        DataError: a label map has classes beyond 8 bits.
    """
    if name == "label" and value.ndim > batched:
        low, high = int(value.min()), int(value.max())
        if low < 0 or high > IGNORE:
            raise DataError(
                f"labels from {low} to {high}: a label map has classes from 0 to {IGNORE - 1}, and {IGNORE} "
                "for pixels to ignore"
            )
        return value.to(torch.uint8)
    return (value * 255).round_().to(torch.uint8) if name == "rgb" else value


def to_serve(rows: Tensor) -> Tensor:
    """A batch as it is served, of what is kept: floats in float32, labels in int64."""

    if rows.dtype == torch.uint8 and rows.ndim == 4:
        return rows.to(torch.float32).div_(255)
    return rows.to(torch.float32 if rows.is_floating_point() else torch.int64)
