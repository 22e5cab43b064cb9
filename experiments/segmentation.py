"""The report of a cross-modal run whose students segment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .report import SEGMENTATION_COLUMNS, Column, Summary

if TYPE_CHECKING:
    from crdkit.crossmodal import RunResult, SegmentationConfig, SegmentationProtocol
    from crdkit.engine import Accelerator

TASK = "crossmodal"


def make_protocol(config: SegmentationConfig, accelerator: Accelerator, folder: Path) -> SegmentationProtocol:
    """The protocol over the configuration's samples."""
    from crdkit.crossmodal import SegmentationProtocol, load_samples

    return SegmentationProtocol(config, load_samples(config.data), accelerator, folder)


def columns(summary: Summary) -> list[Column]:
    """The table's."""
    return list(SEGMENTATION_COLUMNS)


def in_words(metrics: Mapping[str, Any]) -> str:
    """A method's figures, for a line of the terminal."""
    accuracy, iou = (100 * metrics[name] for name in ("pixel_accuracy", "mean_iou"))
    return f"pixel accuracy {accuracy:.1f}, mean IoU {iou:.1f}"


def report(protocol: SegmentationProtocol, runs: list[RunResult], preset: str, folder: Path) -> None:
    """report.md: the table, predictions of the first seed side by side, learning curves."""
    import torch

    from crdkit.experiments.pictures import PanelRow
    from crdkit.experiments.report import write_report

    data, test = protocol.config.data, protocol.samples.test
    chosen = [round(i * (len(test) - 1) / 3) for i in range(4)]
    batch = test.__getitems__(chosen)
    predictions = {}
    with torch.no_grad():
        for done in runs:
            if done.seed == protocol.config.seed[0]:
                modality = batch[data.student_modality].to(protocol.accelerator.device)
                predictions[done.method] = done.network.eval()(modality).logits.argmax(1).cpu()
    panel = []
    if data.teacher_modality == "rgb" and data.student_modality == "depth":
        panel = [
            PanelRow(
                batch["rgb"][i],
                batch["depth"][i],
                batch["label"][i],
                {m: p[i] for m, p in predictions.items()},
            )
            for i in range(len(chosen))
        ]
    histories: dict[str, list[list[dict[str, float]]]] = {}
    for done in runs:
        histories.setdefault(done.method, []).append(done.history)
    last = protocol.teacher_history[-1] if protocol.teacher_history else {}
    notes = (
        f"The teacher sees {data.teacher_modality} and reaches pixel accuracy "
        f"{100 * last['pixel_accuracy']:.1f}, mean IoU {100 * last['mean_iou']:.1f} on the test split."
        if last
        else f"The teacher sees {data.teacher_modality} and never saw the labels."
    )
    write_report(
        folder, SEGMENTATION_COLUMNS, title=f"{data.teacher_modality} to {data.student_modality}: {preset}",
        baseline="none" if "none" in protocol.config.method else None, histories=histories,
        curves=SEGMENTATION_COLUMNS[:2], panel=panel, class_names=protocol.samples.class_names, notes=notes,
    )  # fmt: skip
