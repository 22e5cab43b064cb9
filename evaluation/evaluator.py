"""Networks on the test split of a run, on its device, shared out over its ranks; in fp32 whatever they
trained in, as that is how they are taken home: the figures of a run are those of its files."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ..engine import Accelerator, Evaluate
from ..models import Outputs, evaluating
from .batches import judging
from .classification import ClassificationMetrics, evaluate_classifier
from .features import Features, extract
from .segmentation import SegmentationMetrics, evaluate_segmenter


class _OnTestSplit:
    """A test split and how it is read.

    Args:
        test: the split, with `label` and the modality.
        num_classes: C.
        accelerator: device and ranks.
        modality: name of the entry that the networks take.
        num_workers: processes that read the split, on each rank.
    """

    def __init__(
        self,
        test: Any,
        num_classes: int,
        accelerator: Accelerator,
        *,
        modality: str = "rgb",
        num_workers: int = 0,
    ) -> None:
        self.test, self.num_classes, self.accelerator = test, num_classes, accelerator
        self.modality, self.num_workers = modality, num_workers
        self._answers: WeakKeyDictionary[nn.Module, tuple[list[int], list[Tensor]]] = WeakKeyDictionary()

    @property
    def _reading(self) -> dict[str, Any]:
        device = self.accelerator.device
        return {"modality": self.modality, "device": device, "num_workers": self.num_workers}


class Evaluator(_OnTestSplit):
    """Judges classifiers of one modality on a test split; every rank calls it, and has the same figures.

    A teacher is asked once: students after the first are judged beside the logits that it gave then.
    """

    def __call__(
        self, network: Callable[[Any], Any], *, teacher: nn.Module | None = None
    ) -> ClassificationMetrics:
        """All metrics of `evaluate_classifier`, those beside a teacher if there is one."""
        with full_precision(self.accelerator), self._answering(teacher) as answers:
            return evaluate_classifier(
                network, self.test, self.num_classes, teacher=answers, sharded=True, **self._reading
            )

    @contextmanager
    def _answering(self, teacher: nn.Module | None) -> Iterator[Callable[[Any], Tensor] | None]:
        """The teacher's logits for one pass over the split, batch by batch, which always has one order: kept
        ones, if the teacher's tensors have not been written since."""
        if teacher is None:
            yield None
            return
        written = [tensor._version for tensor in chain(teacher.parameters(), teacher.buffers())]
        before, kept = self._answers.get(teacher, ([], []))
        if kept and before == written:
            left = iter(kept)
            yield lambda _: next(left)
            return
        given: list[Tensor] = []

        def ask(images: Any) -> Tensor:
            outputs = teacher(images)
            given.append(getattr(outputs, "logits", outputs).cpu())
            return given[-1]

        with evaluating(teacher):
            yield ask
        self._answers[teacher] = written, given

    def top1(self, deployed: Callable[[Any], nn.Module] = lambda module: module) -> Evaluate:
        """What a training calls at the end of an epoch: the trained module -> {"top1"}.

        Args:
            deployed: the trained module -> the network that is judged.
        """
        return lambda module: {"top1": self(deployed(module))["top1"]}

    def logits(self, network: nn.Module) -> Features:
        """A network's logits for every image, with the labels."""
        with full_precision(self.accelerator):
            return extract(_LogitsAsFeatures(network), self.test, **self._reading)


class SegmentationEvaluator(_OnTestSplit):
    """Judges segmenters of one modality on a test split; every rank calls it, and has the same figures."""

    def __call__(self, network: nn.Module) -> SegmentationMetrics:
        """All metrics of `evaluate_segmenter`."""

        def predict(images: Tensor) -> Tensor:
            logits: Tensor = network(images).logits
            return logits

        with judging(network), full_precision(self.accelerator):
            return evaluate_segmenter(predict, self.test, self.num_classes, sharded=True, **self._reading)

    def summary(self) -> Evaluate:
        """What a training calls at the end of an epoch: the module -> pixel_accuracy and mean_iou."""

        def evaluate(module: nn.Module) -> dict[str, float]:
            found = self(module)
            return {"pixel_accuracy": found["pixel_accuracy"], "mean_iou": found["mean_iou"]}

        return evaluate


def full_precision(accelerator: Accelerator) -> torch.autocast:
    """No autocast inside, wherever this stands."""
    return torch.autocast(accelerator.device.type, enabled=False)


class _LogitsAsFeatures(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Outputs:
        return Outputs(None, (), self.network(images).logits)
