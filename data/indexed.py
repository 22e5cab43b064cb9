"""Any map-style data set with each sample's row beside it, which a memory of one vector a sample needs."""

import operator
from collections.abc import Mapping, Sequence
from typing import Any, overload

import torch
from torch.utils.data import Dataset, IterableDataset, Subset

from .reading import CPU, upload


def with_index(dataset: Any) -> "WithIndex":
    """A data set whose samples come with their row in it.

        from torch.utils.data import DataLoader
        from crdkit.contrast import CRDLoss
        from crdkit.data import with_index

        loader = DataLoader(with_index(dataset), batch_size=64, shuffle=True)
        crd = CRDLoss(student_dim=64, teacher_dim=256, num_samples=len(dataset))
        optimizer = torch.optim.SGD([*student.parameters(), *crd.parameters()], lr=0.05, momentum=0.9)

        for images, labels, index in loader:  # index: the row of each sample in the data set, (B,) int64
            with torch.no_grad():
                target = teacher(images)  # (B, 256)
            features, logits = student(images)  # (B, 64), (B, classes)
            loss = F.cross_entropy(logits, labels) + 0.8 * crd(features, target, index)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    A sample `(image, label)` becomes `(image, label, index)`, a mapping gets the entry `index` (another one
    of that name is replaced), and any other sample `x` becomes `(x, index)`. A part of the wrapped data set
    (a slice, a `Subset`, a sampler's choice) keeps the rows of the whole; to train on a part alone, with a
    memory of its size, wrap the part.

    Args:
        dataset: `__len__` and `__getitem__(row)`, and `__getitems__(rows)` if it has one.

    Raises:
        TypeError: an iterable data set, or another without rows and length.
    """
    return WithIndex(dataset)


class WithIndex(Dataset[Any]):
    """What `with_index` gives; the data set itself is `dataset`."""

    def __init__(self, dataset: Any) -> None:
        name = type(dataset).__name__
        if isinstance(dataset, IterableDataset):
            raise TypeError(
                f"{name} is an iterable data set: its samples have no row. Let it yield a number that each "
                "sample keeps in every epoch, from 0 to the number of samples − 1, beside the sample"
            )
        if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
            raise TypeError(f"with_index takes a data set with __len__ and __getitem__(row), got {name}")
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    @overload
    def __getitem__(self, row: slice) -> Subset[Any]: ...
    @overload
    def __getitem__(self, row: int) -> Any: ...
    def __getitem__(self, row: int | slice) -> Any:
        """A sample with its row, which from the end counts as usual; a slice is a `Subset`."""
        if isinstance(row, slice):
            return Subset(self, range(len(self))[row])
        row = self._row(row)
        return _joined(self.dataset[row], row)

    def __getitems__(self, rows: Sequence[int]) -> Any:
        """Several samples as a list; as one batch if the data set makes its own batches, as mappings."""
        rows = [self._row(row) for row in rows]
        own = getattr(self.dataset, "__getitems__", None)
        found = own(rows) if callable(own) else [self.dataset[row] for row in rows]
        if isinstance(found, Mapping):
            old = found.get("index")
            device = old.device if isinstance(old, torch.Tensor) else CPU
            return {**found, "index": upload(torch.tensor(rows), device)}
        return [_joined(sample, row) for sample, row in zip(found, rows, strict=True)]

    def _row(self, row: int) -> int:
        place, length = operator.index(row), len(self)
        if not -length <= place < length:
            raise IndexError(f"row {place} of a data set of {length} samples")
        return place % length


def _joined(sample: Any, row: int) -> Any:
    if isinstance(sample, Mapping):
        return {**sample, "index": row}
    return (*sample, row) if isinstance(sample, tuple | list) else (sample, row)
