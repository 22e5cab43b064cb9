"""Classifiers on the test split of a run."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ..engine import Accelerator, Evaluate
from ..models import Outputs
from .classification import ClassificationMetrics, classify
from .features import Features, extract

__all__ = ["Evaluator"]


class Evaluator:
    """Judges classifiers of one modality on a test split, on the run's device and in its precision.

    Args:
        test: the split, with `label` and the modality.
        num_classes: C.
        accelerator: device and precision.
        modality: name of the entry that the classifiers take.
    """

    def __init__(
        self, test: Any, num_classes: int, accelerator: Accelerator, *, modality: str = "rgb"
    ) -> None:
        self.test, self.num_classes, self.accelerator, self.modality = (
            test,
            num_classes,
            accelerator,
            modality,
        )

    def __call__(
        self, network: Callable[[Any], Any], *, teacher: Callable[[Any], Any] | None = None
    ) -> ClassificationMetrics:
        """All metrics of `classify`, those beside a teacher where there is one."""
        with self.accelerator.autocast():
            return classify(
                network, self.test, self.num_classes, teacher=teacher, modality=self.modality,
                device=self.accelerator.device,
            )  # fmt: skip

    def top1(self, deployed: Callable[[Any], nn.Module] = lambda module: module) -> Evaluate:
        """What a training calls at the end of an epoch: the trained module -> {"top1"}.

        Args:
            deployed: the trained module -> the network that is judged.
        """
        return lambda module: {"top1": self(deployed(module))["top1"]}

    def logits(self, network: nn.Module) -> Features:
        """A network's logits for every image, with the labels."""
        with self.accelerator.autocast():
            return extract(
                _LogitsAsFeatures(network), self.test, modality=self.modality, device=self.accelerator.device
            )


class _LogitsAsFeatures(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, modality: Tensor) -> Outputs:
        return Outputs(None, (), self.network(modality).logits)
