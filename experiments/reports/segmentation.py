"""The report of a cross-modal run whose students segment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..scenario import Outcome, Scenario, method_of
from .alignment import COLUMNS as ALIGNMENT
from .alignment import alignment_parts
from .judged import class_table, confusion, learning_curves, made_teachers
from .page import Page, Part, Text
from .tables import Column, Summary
from .words import from_to, listed, modality_in_words

if TYPE_CHECKING:
    from crdkit.crossmodal import SegmentationConfig, SegmentationPipeline
    from crdkit.engine import Accelerator
    from crdkit.pipelines import RunResult

COLUMNS = (
    Column("pixel_accuracy", "pixel accuracy"),
    Column("mean_iou", "mean IoU"),
    Column("best_pixel_accuracy", "best pixel accuracy"),
    Column("best_mean_iou", "best mean IoU"),
)
ALIGNED = ALIGNMENT[:7]
ROWS = 4
"""Samples in a picture."""


def make_pipeline(config: SegmentationConfig, accelerator: Accelerator, folder: Path) -> SegmentationPipeline:
    """The pipeline over the configuration's samples."""
    from crdkit.crossmodal import SegmentationPipeline, load_samples

    modalities = tuple(dict.fromkeys((*config.teacher.modality, config.student_modality)))
    samples = load_samples(
        config.data, modalities, accelerator=accelerator, num_workers=config.transfer.train.num_workers
    )
    return SegmentationPipeline(config, samples, accelerator, folder)


def in_words(done: RunResult) -> str:
    """A run's figures, for a line of the terminal."""
    return _figures(done.metrics) if "mean_iou" in done.metrics else _aligned_in_words(done.metrics)


def columns(config: SegmentationConfig, summary: Summary) -> list[Column]:
    """The table's: what was judged with labels, else how well the modalities are aligned."""
    judged = any("mean_iou" in metrics for metrics in summary.values())
    return list(COLUMNS if judged else ALIGNED)


def page(outcome: Outcome) -> Page:
    """Predictions of the first seed side by side, curves, classes, alignment, costs."""
    config, samples = outcome.pipeline.config, outcome.pipeline.samples
    sees = listed(map(modality_in_words, config.teacher.modality))
    parts: list[Part] = [*_predictions(outcome)]
    if samples.is_labeled:
        parts += learning_curves(outcome.runs, COLUMNS[:2], outcome.pictures, method_of)
        parts += class_table(outcome.rows, samples.class_names, "iou", "IoU of each class")
        parts += confusion(outcome.runs, samples.class_names, method_of)
    parts += alignment_parts(outcome)
    parts += [_pairs(outcome), _cost(outcome)]
    return Page(
        from_to(config.teacher.modality, config.student_modality),
        outcome.columns,
        parts=parts,
        notes=f"The teacher sees {sees} and {_teachers_in_words(outcome.teachers)}",
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
    from crdkit.data import read_rows

    from .pictures import overlay_picture

    config, pairs = outcome.pipeline.config, outcome.pipeline.pairs
    batch = read_rows(pairs, range(min(ROWS, len(pairs))))
    seen = config.teacher.modality[0], config.student_modality
    overlay_picture(outcome.pictures / "pairs.png", {name: batch[name] for name in dict.fromkeys(seen)})
    return Text("Pairs", f"![{seen[0]}, {seen[1]}, and both](pictures/pairs.png)")


def _predictions(outcome: Outcome) -> list[Part]:
    """Test samples as teacher and student see them, the truth, and what the first seed's students say."""
    import torch

    from crdkit.data import evenly_spaced, read_rows

    from .predictions import draw_predictions

    config, test = outcome.pipeline.config, outcome.pipeline.samples.test
    if not outcome.pipeline.samples.is_labeled:
        return []
    rows = evenly_spaced(len(test), ROWS)
    modalities = dict.fromkeys((*config.teacher.modality, config.student_modality))
    batch = read_rows(test, rows)
    predictions = {}
    for done in outcome.runs:
        if done.seed == config.seed[0]:
            seen = batch[config.student_modality].to(outcome.pipeline.accelerator.device)
            with torch.no_grad():
                logits = done.network.eval()(seen).logits
            if logits.shape[2:] != batch["label"].shape[1:]:
                size = batch["label"].shape[1:]
                logits = torch.nn.functional.interpolate(logits.float(), size, mode="bilinear")
            predictions[done.method] = logits.argmax(1).cpu()
    return [
        draw_predictions(
            outcome.pictures,
            {name: batch[name] for name in modalities},
            batch["label"],
            predictions,
            outcome.pipeline.samples.class_names,
        )
    ]


def _cost(outcome: Outcome) -> Part:
    from crdkit.data import read_rows

    from .cost import cost_table

    pipeline = outcome.pipeline
    first = read_rows(pipeline.pairs, [0])
    return cost_table(
        outcome.pictures.parent,
        outcome.runs,
        first[pipeline.config.student_modality],
        made_teachers(outcome, first),
    )


SCENARIO = Scenario("crossmodal", make_pipeline, in_words, columns, page)
