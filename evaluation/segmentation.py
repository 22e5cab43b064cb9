"""Metrics of a segmentation, from one confusion matrix over a whole data set."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypedDict, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor

from ..common import UserError
from .batches import Reading, judging, read_batches, sum_over_ranks


class SegmentationMetrics(TypedDict):
    """Fractions of 1: over all labeled pixels, averaged over classes, and of each class (NaN: absent); and
    the counts that they come from."""

    pixel_accuracy: float
    mean_iou: float
    iou: list[float]
    confusion: list[list[int]]
    """A row for each true class, in it the counts of the classes that were predicted."""


class ConfusionMatrix:
    """Counts of (true class, predicted class) over all pixels seen, in int64.

    One matrix for a data set: the mean over images of their IoUs is another quantity, and a wrong one, as an
    image without a class says nothing about it.

    Args:
        num_classes: labels and predictions are 0 … num_classes - 1.
        ignore: the label of pixels that do not count.

    Attributes:
        counts: (num_classes, num_classes) int64 on the CPU, rows the truth, columns the prediction.
    """

    def __init__(self, num_classes: int, ignore: int = 255) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}")
        if 0 <= ignore < num_classes:
            raise ValueError(f"ignore must not be one of the {num_classes} classes, got {ignore}")
        self.num_classes = num_classes
        self.ignore = ignore
        self.counts = torch.zeros(num_classes, num_classes, dtype=torch.int64)

    def update(self, prediction: Tensor, label: Tensor) -> None:
        """Adds the pixels of a batch.

        Args:
            prediction: integer classes of any shape, usually (B, H, W).
            label: integer classes or `ignore`, of the same shape.

        Raises:
            ValueError: for different shapes, or a class out of range (of a label that is not ignored).
        """
        if prediction.shape != label.shape:
            raise ValueError(
                "prediction and label must have one shape, got "
                f"{tuple(prediction.shape)} and {tuple(label.shape)}"
            )
        counted = label != self.ignore
        truth, guess = label[counted].long(), prediction[counted].long()
        if truth.numel() == 0:
            return
        for side, classes in (("label", truth), ("prediction", guess)):
            low, high = int(classes.min()), int(classes.max())
            if low < 0 or high >= self.num_classes:
                raise UserError(
                    f"{side} must be 0 … {self.num_classes - 1}, {self.ignore} is ignored, got {low} … {high}"
                )
        n = self.num_classes
        self.counts += torch.bincount(truth * n + guess, minlength=n * n).view(n, n).cpu()

    def reset(self) -> None:
        """Forgets all pixels."""
        self.counts.zero_()

    def reduce(self) -> None:
        """Adds up the counts of all ranks, on every rank; without process group nothing changes.

        Call it once, after the last update. Samples that a sampler serves twice, to fill up a batch, count
        twice.
        """
        self.counts = sum_over_ranks(self.counts)

    def pixel_accuracy(self) -> float:
        """Correct pixels over all counted ones; NaN without any."""
        return float(self.counts.diagonal().sum().double() / self.counts.sum())

    def iou(self) -> Tensor:
        """TP / (TP + FP + FN) of each class, (num_classes,) float64; NaN where a class is in neither side."""
        hits = self.counts.diagonal()
        union = self.counts.sum(0) + self.counts.sum(1) - hits
        return hits.double() / union  # 0 / 0 is NaN, the absent class

    def mean_iou(self) -> float:
        """Mean of `iou` over the classes that occur in the labels or the predictions; NaN without any.

        A class that is predicted and never true counts with 0; one that is in neither does not count.
        """
        return float(self.iou().nanmean())

    def compute(self) -> SegmentationMetrics:
        """All figures."""
        return {
            "pixel_accuracy": self.pixel_accuracy(),
            "mean_iou": self.mean_iou(),
            "iou": self.iou().tolist(),
            "confusion": self.counts.tolist(),
        }


def evaluate_segmenter(
    predict: Callable[[Any], Any],
    batches: Iterable[Mapping[str, Tensor]] | Any,
    num_classes: int,
    *,
    ignore: int = 255,
    **how: Unpack[Reading],
) -> SegmentationMetrics:
    """Judges a segmentation over a data set.

    Args:
        predict: gives logits (B, num_classes, h, w), or an object with such `.logits` (`Outputs`). A module
            runs in eval mode and gets its mode back. Logits of another size than the labels are resized
            bilinearly first.
        batches: as `Reading` says; "label" is (B, H, W).
        num_classes: of the labels.
        ignore: label of pixels that do not count.
        how: the batches are read; of a data set 32 samples at a time if that is absent.

    Returns:
        "pixel_accuracy", "mean_iou" (see `ConfusionMatrix.mean_iou`), "iou" of each class, and "confusion".

    Raises:
        ValueError: for no batches, logits of other classes or axes, or labels out of range.
        KeyError: for a batch without the modality or "label"; what it has is listed.
    """
    matrix = ConfusionMatrix(num_classes, ignore)
    how.setdefault("batch_size", 32)
    modality, sharded = how.get("modality"), how.get("sharded", False)
    empty = True
    with judging(predict):
        for batch in read_batches(batches, predict, ("label", modality), **how):
            empty = False
            outputs = predict(batch if modality is None else batch[modality])
            logits = getattr(outputs, "logits", outputs)
            matrix.update(_classes(logits, num_classes, batch["label"]), batch["label"])
    if empty and not sharded:
        raise UserError("there is no batch to evaluate")
    if sharded:
        matrix.reduce()
    return matrix.compute()


def _classes(logits: Tensor, num_classes: int, label: Tensor) -> Tensor:
    if not isinstance(logits, Tensor) or logits.ndim != 4 or logits.shape[1] != num_classes:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"predict must give logits (B, {num_classes}, h, w), got {got}")
    if logits.shape[2:] != label.shape[1:]:
        logits = F.interpolate(logits.float(), size=label.shape[1:], mode="bilinear", align_corners=False)
    return logits.argmax(1)
