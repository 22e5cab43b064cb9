"""The report of a cross-modal run whose students segment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .alignment import COLUMNS as ALIGNMENT
from .alignment import alignment_parts
from .cost import cost_table
from .judged import class_table, confusion, learning_curves
from .outcome import Outcome, TaskReport, on_device
from .page import Page, Part, Text
from .tables import Column, Summary
from .words import from_to, listed, modality_in_words

if TYPE_CHECKING:
    from ..pipelines import RunResult

COLUMNS = (
    Column("pixel_accuracy", "pixel accuracy"),
    Column("mean_iou", "mean IoU"),
    Column("best_pixel_accuracy", "best pixel accuracy"),
    Column("best_mean_iou", "best mean IoU"),
)
ALIGNED = ALIGNMENT[:7]
ROWS = 4
"""Samples in a picture."""


def in_words(done: RunResult) -> str:
    """A run's figures, for a line of the terminal."""
    return _figures(done.metrics) if "mean_iou" in done.metrics else _aligned_in_words(done.metrics)


def columns(summary: Summary) -> list[Column]:
    """The table's: what was judged with labels, else how well the modalities are aligned."""
    judged = any("mean_iou" in metrics for metrics in summary.values())
    return list(COLUMNS if judged else ALIGNED)


def page(outcome: Outcome) -> Page:
    """Predictions of the first seed side by side, curves, classes, alignment, costs."""
    config, classes = outcome.config, outcome.class_names
    sees = listed(map(modality_in_words, config.teacher.modality))
    parts: list[Part] = []
    if outcome.test is not None:
        parts.append(_predictions(outcome))
        parts += learning_curves(outcome.runs, COLUMNS[:2])
        parts += class_table(outcome.rows, classes, "iou", "IoU of each class")
        parts += confusion(outcome.runs, classes)
    parts += alignment_parts(outcome)
    parts += [_pairs(outcome), cost_table(outcome)]
    return Page(
        from_to(config.teacher.modality, config.student_modality),
        columns(outcome.summary),
        parts=parts,
        notes=f"The teacher sees {sees} and {_teachers_in_words(outcome.teacher_metrics)}",
        headline="mean_iou",
    )


def _figures(metrics: Mapping[str, Any]) -> str:
    accuracy, iou = (100 * metrics[name] for name in ("pixel_accuracy", "mean_iou"))
    return f"pixel accuracy {accuracy:.1f}, mean IoU {iou:.1f}"


def _aligned_in_words(metrics: Mapping[str, Any]) -> str:
    """Without labels: what the alignment is, if it was measured."""
    if "alignment/r1" not in metrics:
        return "transferred; no pairs were held out to tell how well"
    return ", ".join(
        f"{column.title} {column.scale * metrics[column.metric]:.{column.digits}f}" for column in ALIGNED[:5]
    )


def _teachers_in_words(teachers: Sequence[Mapping[str, float]]) -> str:
    if not teachers:
        return "never saw the labels."
    return f"reaches {'; '.join(map(_figures, teachers))} on the test split."


def _pairs(outcome: Outcome) -> Part:
    """The first pairs, the student's modality over the teacher's: they must lie on each other."""
    from ..data import read_rows
    from .pictures import overlay_picture

    config, pairs = outcome.config, outcome.pairs
    batch = read_rows(pairs, range(min(ROWS, len(pairs))))
    seen = config.teacher.modality[0], config.student_modality
    overlay_picture(outcome.pictures / "pairs.png", {name: batch[name] for name in dict.fromkeys(seen)})
    return Text("Pairs", f"![{seen[0]}, {seen[1]}, and both](pictures/pairs.png)")


def _predictions(outcome: Outcome) -> Part:
    """Test samples as teacher and student see them, the truth, and what the first seed's students say."""
    import torch

    from ..data import evenly_spaced, read_rows
    from .predictions import draw_predictions

    config = outcome.config
    modalities = dict.fromkeys((*config.teacher.modality, config.student_modality))
    batch = read_rows(outcome.test, evenly_spaced(len(outcome.test), ROWS))
    size, predictions = batch["label"].shape[1:], {}
    for done in outcome.first_seed:
        with torch.no_grad(), on_device(done.network, outcome.device) as network:
            logits = network(batch[config.student_modality].to(outcome.device)).logits
        if logits.shape[2:] != size:
            logits = torch.nn.functional.interpolate(logits.float(), size, mode="bilinear")
        predictions[done.method] = logits.argmax(1).cpu()
    inputs = {name: batch[name] for name in modalities}
    return draw_predictions(outcome.pictures, inputs, batch["label"], predictions, outcome.class_names)


REPORT = TaskReport("crossmodal", in_words, page)
