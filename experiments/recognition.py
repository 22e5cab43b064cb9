"""The report of a cross-modal run whose students are probed and fine-tuned."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .report import Column, Summary

if TYPE_CHECKING:
    from crdkit.crossmodal import RecognitionConfig, RecognitionProtocol, RunResult
    from crdkit.engine import Accelerator

TASK = "recognition"
QUERIES, NEIGHBORS = 6, 5


def make_protocol(config: RecognitionConfig, accelerator: Accelerator, folder: Path) -> RecognitionProtocol:
    """The protocol over the configuration's images."""
    from crdkit.crossmodal import RecognitionProtocol, load_recognition

    return RecognitionProtocol(config, load_recognition(config.data, accelerator.device), accelerator, folder)


def columns(summary: Summary) -> list[Column]:
    """A probe for each layer, neighbors, fine-tuning."""
    probes = dict.fromkeys(n for method in summary.values() for n in method if n.startswith("probe_"))
    return [
        *(Column(name, f"layer {name.removeprefix('probe_')}") for name in probes),
        Column("knn", "k-NN"),
        Column("finetune_top1", "fine-tuned"),
        Column("finetune_best_top1", "best fine-tuned"),
    ]


def in_words(metrics: Mapping[str, Any]) -> str:
    """A method's figures, for a line of the terminal."""
    probes = [f"{100 * value:.1f}" for name, value in metrics.items() if name.startswith("probe_")]
    tuned = 100 * metrics["finetune_top1"]
    return f"probes {' '.join(probes)}, k-NN {100 * metrics['knn']:.1f}, fine-tuned {tuned:.1f}"


def report(protocol: RecognitionProtocol, runs: list[RunResult], preset: str, folder: Path) -> None:
    """report.md: the table, accuracy by layer, retrieved neighbors, learning curves of the fine-tuning."""
    import torch

    from crdkit.evaluation import nearest
    from crdkit.experiments import pictures
    from crdkit.experiments.report import Column, summarize, write_report

    config, pairs = protocol.config, protocol.pairs
    summary = summarize({"method": r.method, "seed": r.seed, "metrics": r.metrics} for r in runs)
    shown = columns(summary)
    layers = [column for column in shown if column.metric.startswith("probe_")]
    pictures.layer_curves(folder / "pictures" / "layers.png", summary, layers)
    test, first = protocol.images.test, config.seed[0]
    queries = torch.linspace(0, len(test) - 1, QUERIES).round().long()
    found = {}
    for done in runs:
        if done.seed == first:
            vectors = protocol.embeddings[done.method, first].vectors
            # The first neighbor of a test image among the test images is itself.
            found[done.method] = nearest(vectors[queries], vectors, neighbors=NEIGHBORS + 1)[:, 1:].tolist()
    pictures.retrieval_picture(
        folder / "pictures" / "neighbors.png",
        lambda row: test[row]["rgb"].cpu().numpy(),
        queries.tolist(),
        found,
    )
    histories: dict[str, list[list[dict[str, float]]]] = {}
    for done in runs:
        histories.setdefault(done.method, []).append(done.history)
    teacher = protocol.teacher_metrics() or {}
    accuracy = f", top-1 {100 * teacher['top1']:.1f}" if teacher else ""
    write_report(
        folder, shown, title=f"{pairs.teacher_modality} to {pairs.student_modality}: {preset}",
        baseline="none" if "none" in config.method else None, histories=histories,
        curves=[Column("top1", "fine-tuning, top-1")],
        notes=(
            f"The teacher ({config.teacher.architecture}) sees {pairs.teacher_modality}{accuracy}; "
            f"the student ({config.student}) sees {pairs.student_modality}. "
            f"{len(pairs.dataset)} images without labels."
        ),
        drawn={
            "Linear probes by layer": "layers.png",
            "Nearest test images of the embedding: query, then its neighbors": "neighbors.png",
        },
    )  # fmt: skip
