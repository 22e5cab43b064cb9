"""Augmentations that are drawn once, with what the teachers say of them, as a map-style data set."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from math import prod
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ..common import OutputError, require_space
from ..data import Batch, BatchDataset, read_rows, upload
from ..engine import Accelerator, augment_in_fp32, derive_seed, digest, from_main, seeded
from ..models import Outputs, from_parts, take_parts
from .spec import TransferData
from .store import Blocks, Store, digest_of, fill_memory, open_folder, write_folder
from .targets import Teacher, TeacherTargets

BLOCK = 128
"""Samples that are augmented and taught at a time."""

VECTORS = ("logits", "embedding")
"""Parts that are kept with whatever is read, where they are one vector a sample: they are small, and another
method of the run, which reads them, need not run the teachers once more."""

SMALLER = "fewer --transfer.cached-augmentations, --transfer.cache-dtype float16, or another --transfer.cache"


def cached_targets(batch: Batch) -> tuple[Outputs, ...]:
    """What the teachers said of a batch of `CachedAugmentations`: one `Outputs` for each, of what it
    holds."""
    parts: dict[int, dict[str, Tensor]] = {}
    for name, value in batch.items():
        if name.startswith("teacher."):
            _, number, part = name.split(".", 2)
            parts.setdefault(int(number), {})[part] = value.float()
    return tuple(from_parts(parts[number]) for number in sorted(parts))


class CachedAugmentations(BatchDataset):
    """V augmentations of every sample and what some teachers say of them; a batch draws one for each sample.

    Batches hold `index`, the student's modality, `label` if the data have it, and for each teacher the parts
    that were asked for (`teacher.0.embedding`, …), which `cached_targets` reads.

    Args:
        store: from `Cache`.
        modality: the student's.
    """

    def __init__(self, store: Store, modality: str) -> None:
        self.store, self.modality = store, modality
        images = store["images"]
        self.number, self.length = images.shape[:2]
        self.device = images.device if isinstance(images, Tensor) else torch.device("cpu")

    def __len__(self) -> int:
        return int(self.length)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """The batch of these rows; which augmentation of each torch's global generator on the CPU decides."""
        places = torch.stack([torch.as_tensor(indices), torch.randint(self.number, (len(indices),))])
        index, drawn = upload(places, self.device)
        batch = {"index": index}
        for name, array in self.store.items():
            if name == "label":
                batch["label"] = _read(array, index)
            else:
                served = {"images": self.modality, "label_maps": "label"}.get(name, name)
                batch[served] = _read(array, drawn, index)
        if "label_maps" in self.store:
            batch["label"] = batch["label"].long()
        if batch[self.modality].dtype == torch.uint8:
            batch[self.modality] = batch[self.modality].float().div_(255)
        return batch


class Cache:
    """Makes `CachedAugmentations`: the pixels once, each teacher's outputs once for all runs that read them.

    Args:
        data: what is augmented.
        number: V.
        seed: of the draws; each augmentation has a seed of its own.
        dtype: of the teachers' outputs.
        place: "device" or "disk", or "auto": see `TransferConfig`.
        folder: of the files.
        limit: bytes of the device's memory that the cache may take.
        fingerprint: JSON values that the pixels depend on.
        accelerator: device and precision of the teachers.

    Raises:
        OutputError: the cache is larger than what is free; the figures are told.
    """

    def __init__(
        self,
        data: TransferData,
        number: int,
        *,
        seed: int = 0,
        dtype: Literal["float32", "float16"] = "float32",
        place: Literal["auto", "device", "disk"] = "auto",
        folder: Path,
        limit: float,
        fingerprint: Mapping[str, Any],
        accelerator: Accelerator,
    ) -> None:
        self.data, self.number, self.seed, self.accelerator = data, number, seed, accelerator
        self.dtype = getattr(torch, dtype)
        self.place, self.folder, self.limit = place, folder, limit
        self.fingerprint = {
            **fingerprint,
            "augmentations": number,
            "seed": seed,
            "modality": data.modality,
            "labels": None if data.labels is None else data.labels.ndim,
        }
        self.taken = 0
        self._kept: dict[str, Store] = {}
        self._vectors: dict[str, frozenset[str]] = {}

    def dataset(self, teachers: Sequence[Teacher], reads: Sequence[frozenset[str]]) -> CachedAugmentations:
        """The cached augmentations with what `reads` names of each teacher's outputs."""
        store = dict(self._stored("pixels", {}, self._pixels))
        for number, (teacher, names) in enumerate(zip(teachers, reads, strict=True)):
            known = digest(teacher.network.state_dict())
            if known not in self._vectors:
                self._vectors[known] = self._vectors_of(teacher)
            kept = names | self._vectors[known]
            made_from = {
                "teacher": known,
                "modality": teacher.modality,
                "reads": sorted(kept),
                "dtype": str(self.dtype),
                "precision": self.accelerator.mixed_precision,
            }
            name = f"outputs-{digest_of(made_from)}"

            def taught(teacher: Teacher = teacher, kept: frozenset[str] = kept) -> Blocks:
                for outputs in self._taught(teacher):
                    yield {part: x.to(self.dtype) for part, x in take_parts(outputs, kept).items()}

            outputs = self._stored(name, made_from, taught)
            store |= {f"teacher.{number}.{part}": outputs[part] for part in names}
        return CachedAugmentations(store, self.data.modality)

    def _batches(self) -> Iterator[Batch]:
        """Every augmentation of the whole data set in its order, on the device, each drawn by its own
        seed."""
        device, dataset = self.accelerator.device, self.data.dataset
        for v in range(self.number):
            with seeded(derive_seed("augmentation", self.seed, v)):
                for start in range(0, len(dataset), BLOCK):
                    rows = range(start, min(start + BLOCK, len(dataset)))
                    batch = read_rows(dataset, rows)
                    batch = {name: value.to(device, non_blocking=True) for name, value in batch.items()}
                    yield augment_in_fp32(batch, self.data.augment)

    def _pixels(self) -> Iterator[dict[str, Tensor]]:
        for batch in self._batches():
            block = {"images": as_kept(batch[self.data.modality], self.data.modality)}
            if (label := batch.get("label")) is not None:
                maps = label.ndim == 3  # they move with the pixels, and have at most 256 values
                block |= {"label_maps": label.byte()} if maps else {"label": label}
            yield block

    def _vectors_of(self, teacher: Teacher) -> frozenset[str]:
        outputs = next(self._taught(teacher, 2))
        found = {name: getattr(outputs, name) for name in VECTORS}
        return frozenset(name for name, value in found.items() if value is not None and value.ndim == 2)

    @torch.no_grad()
    def _taught(self, teacher: Teacher, limit: int = BLOCK) -> Iterator[Outputs]:
        """What a teacher says of every batch, or of the first samples of each."""
        targets, modality = TeacherTargets([teacher]), teacher.modality
        targets.to(self.accelerator.device)
        for batch in self._batches():
            if modality == self.data.modality:  # the teacher sees what the student will
                kept = as_kept(batch[modality], modality)
                batch[modality] = kept.float() / 255 if kept.dtype == torch.uint8 else kept
            with self.accelerator.autocast():
                (outputs,) = targets({modality: batch[modality][:limit]})
            yield outputs

    def _stored(self, name: str, made_from: Mapping[str, Any], blocks: Callable[[], Blocks]) -> Store:
        if name in self._kept:
            return self._kept[name]
        fingerprint = {**self.fingerprint, **made_from}
        folder = self.folder / f"{name}-{digest_of(fingerprint)}"
        # The main process looks for all: another might look when it has begun to write.
        there = from_main(self.accelerator, folder.exists())
        stored = open_folder(folder, fingerprint) if there else None
        if stored is None:
            iterator = blocks()
            first = next(iterator)
            shapes = {
                part: (
                    (len(self.data.dataset),) if part == "label" else (self.number, len(self.data.dataset))
                )
                + tuple(value.shape[1:])
                for part, value in first.items()
            }
            size = sum(prod(shapes[part]) * value.element_size() for part, value in first.items())
            on_disk = self._goes_to_disk(size)
            self.accelerator.print(
                f"caching {name.split('-')[0]} of {self.number} augmentations of {len(self.data.dataset)} "
                f"samples: {size / 2**20:.0f} MiB {f'in {folder}' if on_disk else 'in memory'}"
            )
            if on_disk:
                if self.accelerator.is_main_process:
                    require_space(self.folder, size, SMALLER)
                    write_folder(folder, fingerprint, shapes, chain([first], iterator))
                from_main(self.accelerator, None)  # waits longer than a barrier would
                stored = open_folder(folder, fingerprint)
                assert stored is not None
            else:
                self.taken += size
                stored = fill_memory(shapes, chain([first], iterator))
        self._kept[name] = stored
        return stored

    def _goes_to_disk(self, size: int) -> bool:
        fits = self.taken + size <= self.limit
        if self.place == "device" and not fits:
            raise OutputError(
                f"the cache needs {(self.taken + size) / 2**30:.2f} GiB of the device's memory, the limit is "
                f"{self.limit / 2**30:.2f}: raise --transfer.cache-limit, or let it lie on disk"
            )
        return self.place == "disk" or not fits


def as_kept(images: Tensor, modality: str) -> Tensor:
    """RGB in bytes, as image files hold it; any other modality as it is."""
    return (images.clamp(0, 1) * 255).round().byte() if modality == "rgb" else images


def _read(array: Any, *places: Tensor) -> Tensor:
    if isinstance(array, Tensor):
        return array[places]
    return torch.from_numpy(array[tuple(place.numpy() for place in places)])
