"""Where a transfer step gets its two sides from: augmented and taught live, or computed once and reused."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from ..data import Batch

Pair = tuple[Tensor, dict[str, Tensor]]
"""The student's view (B, C, H, W) and the teacher's targets."""


class LiveViews(nn.Module):
    """Augments each batch and runs the teacher on it, at every step."""

    def __init__(
        self, teacher: nn.Module, augment: nn.Module, teacher_modality: str, student_modality: str
    ) -> None:
        super().__init__()
        self.teacher = teacher
        self.augment = augment
        self.teacher_modality, self.student_modality = teacher_modality, student_modality

    @torch.no_grad()
    def forward(self, batch: Batch) -> Pair:
        # Sampling coordinates in bf16 would move pixels about.
        with torch.autocast(batch["index"].device.type, enabled=False):
            batch = self.augment(batch)
        return batch[self.student_modality], self.teacher(batch[self.teacher_modality])


class CachedViews(nn.Module):
    """V augmented views of every sample with the teacher's targets, from memory; one is drawn per sample.

    Args:
        load: gives `view` (V, N, C, H, W) and the targets, (V, N, ...); called at the first batch, so that
            nothing is computed for a training that is finished already.
    """

    def __init__(self, load: Callable[[], dict[str, Tensor]]) -> None:
        super().__init__()
        self.load = load
        self.stores: dict[str, Tensor] = {}

    @torch.no_grad()
    def forward(self, batch: Batch) -> Pair:
        self.stores = self.stores or self.load()
        index, view = batch["index"], self.stores["view"]
        drawn = torch.randint(len(view), index.shape).to(index.device)
        targets = {name: store[drawn, index].float() for name, store in self.stores.items() if name != "view"}
        return view[drawn, index], targets


class DisturbedViews(nn.Module):
    """Views of which the student's is disturbed once more, anew at every step.

    Args:
        views: batch -> (student's view, targets).
        disturb: batch -> batch.
        view: the name of the student's view.
    """

    def __init__(self, views: nn.Module, disturb: nn.Module, view: str) -> None:
        super().__init__()
        self.views = views
        self.disturb = disturb
        self.view = view

    @torch.no_grad()
    def forward(self, batch: Batch) -> Pair:
        view, targets = self.views(batch)
        return self.disturb({self.view: view})[self.view], targets


class Rows(Dataset[dict[str, Tensor]]):
    """A data set of bare indices, for when everything else is cached."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"index": torch.tensor(index)}

    def __getitems__(self, indices: list[int]) -> dict[str, Tensor]:
        return {"index": torch.tensor(indices)}


@torch.no_grad()
def compute_views(
    live: LiveViews, batches: Callable[[], Iterable[Batch]], count: int, *, views: int, seed: int
) -> dict[str, Tensor]:
    """Run the teacher over `views` augmented passes of the data.

    The draws depend on `seed` alone; the global generators are left as they were.

    Args:
        batches: starts a pass over the whole data set in order, on the device; called once per view.
        count: N, its length.

    Returns:
        `view` and the targets, (V, N, ...); floating targets in fp16, which holds 3 digits.
    """
    stores: dict[str, Tensor] = {}
    device = next((p.device for p in live.parameters()), torch.device("cpu"))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        for v in range(views):
            row = 0
            for batch in batches():
                view, targets = live(batch)
                for name, value in {"view": view, **targets}.items():
                    kept = value if name == "view" else value.to(torch.float16)
                    if name not in stores:
                        stores[name] = torch.empty(
                            (views, count, *kept.shape[1:]), dtype=kept.dtype, device=kept.device
                        )
                    stores[name][v, row : row + len(kept)] = kept
                row += len(view)
    return stores
