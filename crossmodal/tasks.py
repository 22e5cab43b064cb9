"""The training of a segmenter, as a task of the engine."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data import IGNORE, Batch
from ..engine import Task


class SegmentTask(Task):
    """A segmenter on one view: the teacher's training on RGB and the student's on depth.

    Args:
        segmenter: (B, C, H, W) -> `Outputs` with logits (B, classes, h, w).
        augment: batch -> batch, the same geometry for view and label.
        view: the name of the view it sees.
    """

    def __init__(self, segmenter: nn.Module, augment: nn.Module, view: str) -> None:
        self.module = segmenter
        self.augment = augment
        self.view = view
        self.weights = {"task": 1.0}

    def terms(self, module: nn.Module, batch: Batch) -> tuple[dict[str, Tensor], Any]:
        with torch.autocast(batch[self.view].device.type, enabled=False):
            batch = self.augment(batch)
        logits = module(batch[self.view]).logits.float()
        if logits.shape[-2:] != batch["label"].shape[-2:]:
            logits = F.interpolate(logits, batch["label"].shape[-2:], mode="bilinear", align_corners=False)
        total = F.cross_entropy(logits, batch["label"], ignore_index=IGNORE, reduction="sum")
        # A crop without any labeled pixel counts as zero loss, not as 0/0.
        return {"task": total / (batch["label"] != IGNORE).sum().clamp_min(1)}, None
