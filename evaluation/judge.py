"""Classifiers on the test split of a run."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ..data import ImageSplits
from ..engine import Accelerator, Evaluate
from .classification import ClassificationMetrics, classify

__all__ = ["Judge"]


class Judge:
    """Judges classifiers of `rgb` on a test split, on the run's device and in its precision.

    Args:
        images: whose test split.
        accelerator: device and precision.
    """

    def __init__(self, images: ImageSplits, accelerator: Accelerator) -> None:
        self.images, self.accelerator = images, accelerator

    @torch.no_grad()
    def __call__(
        self, network: Callable[[Any], Any], *, teacher: Callable[[Any], Any] | None = None
    ) -> ClassificationMetrics:
        """All metrics of `classify`, those beside a teacher where there is one."""
        with self.accelerator.autocast():
            return classify(
                network, self.images.test, self.images.num_classes, teacher=teacher, view="rgb",
                device=self.accelerator.device,
            )  # fmt: skip

    def top1(self, deployed: Callable[[Any], nn.Module] = lambda module: module) -> Evaluate:
        """What a training calls at the end of an epoch: the trained module -> {"top1"}.

        Args:
            deployed: the trained module -> the network that is judged.
        """
        return lambda module: {"top1": self(deployed(module))["top1"]}
