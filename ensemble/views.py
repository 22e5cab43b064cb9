"""Fixed views of the training images, and what the members say of them, made once and read from files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..data import Batch, ImageSplits, PairedTensors, read_mapped, write_mapped
from ..engine import Accelerator, augmented, derive_seed, digest, seeded
from ..models import Outputs

BLOCK = 500


class FixedViews(nn.Module):
    """A random one of V views for every image of a batch, and what the teachers say of it.

    It takes the place of an augmentation with teachers behind it. The views are drawn from torch's global
    generator.

    Args:
        images: (V, M, 3, H, W) uint8, such as a memory map.
        answers: for each teacher its `logits` (V, M, C) and `embedding` (V, M, D).
        teachers: run on the views instead, for objectives that read maps.
    """

    def __init__(
        self,
        images: Any,
        answers: Sequence[Mapping[str, Any]] = (),
        teachers: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.images, self.answers, self.teacher = images, tuple(answers), teachers

    @torch.no_grad()
    def forward(self, batch: Batch) -> tuple[Tensor, tuple[Outputs, ...] | None]:
        device = batch["index"].device
        index = batch["index"].cpu().numpy()
        view = torch.randint(len(self.images), (len(index),)).numpy()

        def read(array: Any) -> Tensor:
            return torch.from_numpy(array[view, index]).to(device, non_blocking=True)

        images = read(self.images).float() / 255
        if self.teacher is not None:
            return images, self.teacher(images)
        answers = (Outputs(read(answer["logits"]), (), read(answer["embedding"])) for answer in self.answers)
        return images, tuple(answers) or None


class ViewStore:
    """A folder with fixed views of a training split and the members' answers, each made where it is missing.

    Files are named after what they are of, so that runs with other images, views or members can share a
    folder.

    Args:
        folder: where the files are.
        images: whose training split, and its augmentation.
        number: V.
        facts: JSON values that the pixels depend on.
        accelerator: device and precision of the members.

    Raises:
        ValueError: images that are augmented as they are read, by the loader's workers.
    """

    def __init__(
        self,
        folder: Path,
        images: ImageSplits,
        number: int,
        *,
        facts: Mapping[str, Any],
        accelerator: Accelerator,
    ) -> None:
        if not isinstance(images.train, PairedTensors):
            raise ValueError("fixed views need images that fit in memory; leave --views at 0 for a folder")
        self.folder, self.images, self.number, self.accelerator = folder, images, number, accelerator
        self.manifest = {"views": number, "seeds": [_seed(v) for v in range(number)], **facts}
        self._open: dict[Path, dict[str, Any]] = {}

    def views(self) -> Any:
        """The images of all views, (V, M, 3, H, W) uint8, mapped."""
        count, size = len(self.images.train), tuple(self.images.train[0]["rgb"].shape)
        path = self.folder / f"views-{_name(self.manifest)}.h5"
        arrays = self._made(path, self.manifest, self.number * count, self._draw)
        return arrays["images"].reshape(self.number, count, *size)

    def answers(self, network: nn.Module) -> dict[str, Any]:
        """`logits` (V, M, C) and `embedding` (V, M, D) of a network for all views, mapped."""
        images = self.views()
        precision = self.accelerator.mixed_precision
        manifest = {**self.manifest, "network": digest(network.state_dict()), "precision": precision}
        path = self.folder / f"answers-{_name(manifest)}.h5"
        rows = images.reshape(-1, *images.shape[2:])

        def ask() -> Iterator[dict[str, Any]]:
            device = self.accelerator.device
            network.to(device).eval()
            for start in range(0, len(rows), BLOCK):
                view = torch.from_numpy(np.array(rows[start : start + BLOCK])).to(device).float() / 255
                with torch.no_grad(), self.accelerator.autocast():
                    outputs: Outputs = network(view)
                if outputs.logits is None:
                    raise ValueError("a member without logits has no prediction to keep")
                yield {
                    "logits": outputs.logits.float().cpu().numpy(),
                    "embedding": outputs.embedding.float().cpu().numpy(),
                }

        arrays = self._made(path, manifest, len(rows), ask)
        return {name: array.reshape(*images.shape[:2], -1) for name, array in arrays.items()}

    def _draw(self) -> Iterator[dict[str, Any]]:
        """The views one after the other, each drawn by a seed of its own."""
        for view in range(self.number):
            with seeded(_seed(view)):
                for start in range(0, len(self.images.train), BLOCK):
                    stop = min(start + BLOCK, len(self.images.train))
                    batch = self.images.train.__getitems__(list(range(start, stop)))
                    pixels = augmented(batch, self.images.augment).clamp(0, 1) * 255
                    yield {"images": pixels.round().byte().cpu().numpy()}

    def _made(
        self,
        path: Path,
        manifest: Mapping[str, Any],
        length: int,
        blocks: Callable[[], Iterator[Mapping[str, Any]]],
    ) -> dict[str, Any]:
        if path not in self._open:
            if not path.exists() and self.accelerator.is_main_process:
                self.accelerator.print(f"writing {path}")
                write_mapped(path, manifest, length, blocks())
            self.accelerator.wait_for_everyone()
            self._open[path] = read_mapped(path)
        return self._open[path]


def _seed(view: int) -> int:
    return derive_seed("view", view)


def _name(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]
