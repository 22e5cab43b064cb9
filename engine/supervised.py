"""Training with labels: a class for each sample, or one for each pixel."""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from ..common import UserError
from ..data import IGNORE, Batch
from ..models import PyramidSegmenter, Segmenter
from .task import Task


class SupervisedTask(Task):
    """Cross-entropy with the labels: the training of a teacher, and of a student after its transfer.

    Args:
        network: a modality in its own units -> `Outputs` with logits (B, C), or (B, C, h, w) of a segmenter.
        augment: batch -> batch, moving a label map with its image.
        modality: name of the entry that the network takes.
        label_smoothing: share of the target spread over all classes; for labels of whole samples.
    """

    def __init__(
        self, network: nn.Module, augment: nn.Module, *, modality: str = "rgb", label_smoothing: float = 0.0
    ) -> None:
        self.module = network
        self.augment = augment
        self.modality = modality
        self.label_smoothing = label_smoothing
        self.weights = {"task": 1.0}
        # A segmenter reads maps: layers of its encoder after the last one of them get no gradient.
        segmenters = (Segmenter, PyramidSegmenter)
        self.may_leave_unused = any(isinstance(part, segmenters) for part in network.modules())

    def terms(self, module: nn.Module, batch: Batch) -> tuple[dict[str, Tensor], Any]:
        batch = augment_in_fp32(batch, self.augment)
        logits = module(batch[self.modality]).logits
        return {"task": label_loss(logits, batch["label"], label_smoothing=self.label_smoothing)}, None


def label_loss(logits: Tensor | None, label: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy in fp32, a scalar: the mean over the samples, or over the labeled pixels.

    Ranks may have labeled unequal numbers of pixels: their losses, weighed by samples, average to that of the
    whole batch.

    Args:
        logits: (B, C), or (B, C, h, w), which are resized bilinearly to the labels.
        label: (B,), or (B, H, W) with `IGNORE` where a pixel does not count. Without a labeled pixel the loss
            is 0, not 0/0.
        label_smoothing: for (B,).

    Raises:
        ValueError: a network without logits.
    """
    if logits is None:
        raise UserError("the network gives no logits to compare with the labels")
    logits = logits.float()
    if label.ndim == 1:
        return F.cross_entropy(logits, label, label_smoothing=label_smoothing)
    if logits.shape[-2:] != label.shape[-2:]:
        logits = F.interpolate(logits, label.shape[-2:], mode="bilinear", align_corners=False)
    total = F.cross_entropy(logits, label, ignore_index=IGNORE, reduction="sum")
    count = _of_ranks((label != IGNORE).sum(), len(label))
    return total / count.masked_fill(count == 0, 1)


def _of_ranks(count: Tensor, rows: int) -> Tensor:
    """A count of one rank's samples as it is on the average of all ranks' samples, for as many."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return count
    counts = torch.stack([count.double(), torch.full_like(count, rows, dtype=torch.float64)])
    dist.all_reduce(counts)
    return (counts[0] * rows / counts[1]).float()


def augment_in_fp32(batch: Batch, augment: nn.Module) -> Batch:
    """A batch after `augment`, whatever the autocast: sampling coordinates in bf16 would move pixels
    about."""
    with torch.autocast(batch["index"].device.type, enabled=False):
        augmented: Batch = augment(batch)
    return augmented
