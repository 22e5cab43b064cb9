"""The report of a cross-modal run whose students segment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..scenario import Outcome, Scenario
from .alignment import COLUMNS as ALIGNMENT
from .alignment import alignment_section
from .report import Page, listed
from .tables import Column, Summary

if TYPE_CHECKING:
    from crdkit.crossmodal import SegmentationConfig, SegmentationPipeline
    from crdkit.engine import Accelerator
    from crdkit.transfer import RunResult

    from .pictures import PanelRow

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
    """Predictions of the first seed side by side, if the samples are RGB and depth, and learning curves."""
    config, samples = outcome.pipeline.config, outcome.pipeline.samples
    sees = listed(config.teacher.modality)
    return {
        "title": f"{sees} to {config.student_modality}",
        "notes": f"The teacher sees {sees} and {_teachers_in_words(outcome.teachers)}",
        "sections": _pairs_section(outcome) | alignment_section(outcome),
        "curves": COLUMNS[:2] if samples.is_labeled else (),
        "panel": _panel(outcome),
        "class_names": samples.class_names,
    }


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


def _pairs_section(outcome: Outcome) -> dict[str, str]:
    """The first pairs, the student's modality over the teacher's: they must lie on each other."""
    from crdkit.data import read_rows

    from .pictures import overlay_picture

    config, pairs = outcome.pipeline.config, outcome.pipeline.pairs
    batch = read_rows(pairs, range(min(ROWS, len(pairs))))
    seen = config.teacher.modality[0], config.student_modality
    overlay_picture(outcome.pictures / "pairs.png", {name: batch[name] for name in dict.fromkeys(seen)})
    return {"Pairs": f"![{seen[0]}, {seen[1]}, and both](pictures/pairs.png)"}


def _panel(outcome: Outcome) -> list[PanelRow]:
    import torch

    from crdkit.data import read_rows

    from .pictures import PanelRow

    config, test = outcome.pipeline.config, outcome.pipeline.samples.test
    labeled = outcome.pipeline.samples.is_labeled
    if not labeled or set(config.teacher.modality) != {"rgb"} or config.student_modality != "depth":
        return []
    batch = read_rows(test, [round(i * (len(test) - 1) / (ROWS - 1)) for i in range(ROWS)])
    depth = batch["depth"].to(outcome.pipeline.accelerator.device)
    predictions = {}
    with torch.no_grad():
        for done in outcome.runs:
            if done.seed == config.seed[0]:
                predictions[done.method] = done.network.eval()(depth).logits.argmax(1).cpu()
    return [
        PanelRow(
            batch["rgb"][i], batch["depth"][i], batch["label"][i],
            {method: maps[i] for method, maps in predictions.items()},
        )
        for i in range(ROWS)
    ]  # fmt: skip


SCENARIO = Scenario("crossmodal", make_pipeline, in_words, columns, page)
