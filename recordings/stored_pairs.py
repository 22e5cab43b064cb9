"""Modalities of the same samples on disk, as decoded arrays: what is too large for memory, read quickly."""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from ..common import MANIFEST, Artifact, require_space
from ..data import Batch, BatchDataset, DataError, stored_blocks, to_serve, to_store
from ..data.io.mapped import ArrayWriter, MappedArray


class StoredPairs(BatchDataset):
    """A data set in a folder that `write` made, with one array for each modality; it serves what
    `PairedTensors` of the same samples does, and holds no sample in memory.

    Args:
        folder: what `write` made.
        verify: read every file and compare its digest; else its size alone.

    Attributes:
        num_classes, class_names: of the data set that was written.
        digest: of the contents.

    Raises:
        ManifestError: a file is missing or damaged; it is named.
    """

    def __init__(self, folder: str | os.PathLike[str], *, verify: bool = True) -> None:
        self.folder = Path(folder)
        artifact = Artifact.open(self.folder, verify=verify)
        self.arrays = {
            name.removesuffix(".npy"): MappedArray(self.folder / name) for name in sorted(artifact.files)
        }
        made_from = artifact.fingerprint
        self.num_classes: int | None = made_from.get("num_classes")
        self.class_names = tuple(made_from.get("class_names") or ())
        self.digest = {name.removesuffix(".npy"): entry["sha256"] for name, entry in artifact.files.items()}

    @staticmethod
    def size_of(dataset: Any) -> int:
        """The bytes that a data set takes, decoded: here, and as a `PairedTensors`. Reads its first
        sample."""
        sample = {name: value[None] for name, value in dataset[0].items() if name != "index"}
        return len(dataset) * sum(to_store(name, value).nbytes for name, value in sample.items())

    @classmethod
    def write(
        cls,
        dataset: Any,
        folder: str | os.PathLike[str],
        *,
        fingerprint: Mapping[str, Any] | None = None,
        num_workers: int = 0,
    ) -> "StoredPairs":
        """Decode a data set once into a folder that does not exist yet, all of it or nothing.

        Args:
            dataset: samples of one size, as for `PairedTensors.from_dataset`.
            fingerprint: JSON values that the samples depend on, for `made_from`.
            num_workers: processes that decode.

        Raises:
            OutputError: the disk has no room for it.
            DataError: samples that differ in size.
        """
        folder = Path(folder)
        require_space(folder.parent, cls.size_of(dataset), "name another --data.cache, or a smaller size")
        kept = {name: getattr(dataset, name, None) for name in ("num_classes", "class_names")}
        with Artifact.write(folder, {**(fingerprint or {}), **kept}) as made, ExitStack() as stack:
            writers: dict[str, ArrayWriter] = {}
            for block in stored_blocks(dataset, num_workers=num_workers):
                for name, rows in block.items():
                    array = rows.numpy()
                    if name not in writers:
                        shape = (len(dataset), *array.shape[1:])
                        writer = ArrayWriter(made / f"{name}.npy", shape, array.dtype)
                        writers[name] = stack.enter_context(writer)
                    writers[name].append(array)
        return cls(folder, verify=False)

    @staticmethod
    def made_from(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
        """The fingerprint that a folder was written with; None if there is none."""
        if not (Path(folder) / MANIFEST).exists():
            return None
        return Artifact.open(Path(folder), verify=False).fingerprint

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        index = torch.as_tensor(indices, dtype=torch.int64)
        rows = index.numpy()
        return {"index": index} | {
            name: to_serve(torch.from_numpy(array[rows])) for name, array in self.arrays.items()
        }

    def select(self, *names: str) -> "StoredPairs":
        """Only these modalities: the others are not read."""
        missing = [name for name in names if name not in self.arrays]
        if missing:
            raise DataError(f"no modality {missing[0]!r}; there are {', '.join(self.arrays)}")
        chosen = object.__new__(type(self))
        chosen.__dict__ |= self.__dict__ | {"arrays": {name: self.arrays[name] for name in names}}
        return chosen
