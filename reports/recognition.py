"""The report of a cross-modal run whose students are probed and fine-tuned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .alignment import alignment_parts
from .charts import Lines, line_of
from .cost import cost_table
from .judged import embeddings, learning_curves
from .outcome import Outcome, TaskReport
from .page import Charts, Page, Part, Picture
from .tables import Column, Summary
from .words import from_to, listed, modality_in_words

if TYPE_CHECKING:
    from ..pipelines import RunResult

QUERIES, NEIGHBORS = 6, 5


def in_words(done: RunResult) -> str:
    """A run's figures, for a line of the terminal."""
    metrics = done.metrics
    probes = [f"{100 * value:.1f}" for name, value in metrics.items() if name.startswith("probe_")]
    tuned = 100 * metrics["finetune_top1"]
    return f"probes {' '.join(probes)}, k-NN {100 * metrics['knn']:.1f}, fine-tuned {tuned:.1f}"


def layers_in(summary: Summary) -> list[Column]:
    """A column for the linear probe of each layer, from the stem on."""
    probes = dict.fromkeys(n for method in summary.values() for n in method if n.startswith("probe_"))
    return [Column(name, f"layer {name.removeprefix('probe_')}") for name in probes]


def columns(summary: Summary) -> list[Column]:
    """A probe for each layer, neighbors, fine-tuning."""
    return [
        *layers_in(summary),
        Column("knn", "k-NN"),
        Column("finetune_top1", "fine-tuned"),
        Column("finetune_best_top1", "best fine-tuned"),
    ]


def page(outcome: Outcome) -> Page:
    """Accuracy by layer, curves of the fine-tuning, neighbors, embeddings, alignment, costs."""
    config = outcome.config
    layers = layers_in(outcome.summary)
    _draw_neighbors(outcome)
    found = [f"{100 * teacher['top1']:.1f}" for teacher in outcome.teacher_metrics]
    accuracy = f", top-1 {' and '.join(found)}" if found else ""
    sees = listed(map(modality_in_words, config.teacher.modality))
    parts: list[Part] = [
        Charts("Linear probes by layer", [accuracy_by_layer(outcome.summary, layers)], "layers.png")
    ]
    parts += learning_curves(outcome.runs, [Column("top1", "fine-tuning, top-1")])
    parts += embeddings(outcome.features, outcome.class_names)
    parts.append(Picture("Nearest test images of the embedding: query, then its neighbors", "neighbors.png"))
    parts += [*alignment_parts(outcome), cost_table(outcome)]
    return Page(
        from_to(config.teacher.modality, config.student_modality),
        columns(outcome.summary),
        parts=parts,
        notes=(
            f"The teacher ({listed(config.teacher.architecture)}) sees {sees}{accuracy}; "
            f"the student ({config.student}) sees {modality_in_words(config.student_modality)}. "
            f"{outcome.num_samples} images without labels."
        ),
        headline="finetune_top1",
    )


def accuracy_by_layer(summary: Summary, layers: Sequence[Column]) -> Lines:
    """Return the accuracy of linear probes against the layer, from the stem on."""
    lines = []
    for method, metrics in summary.items():
        found = [(n, metrics[one.metric]) for n, one in enumerate(layers, start=1) if one.metric in metrics]
        lines.append(line_of(method, found, 100))
    return Lines("linear probe, percent", lines, "layer, from the stem")


def _draw_neighbors(outcome: Outcome) -> None:
    import torch

    from ..evaluation import nearest
    from .pictures import retrieval_picture

    test = outcome.test
    queries = torch.linspace(0, len(test) - 1, QUERIES).round().long()
    # The first neighbor of a test image among the test images is the image.
    neighbors = {
        method: nearest(vectors[queries], vectors, neighbors=NEIGHBORS + 1)[:, 1:].tolist()
        for method, (vectors, _) in outcome.features.items()
    }
    retrieval_picture(
        outcome.pictures / "neighbors.png",
        lambda row: test[row]["rgb"].cpu().numpy(),
        queries.tolist(),
        neighbors,
    )


REPORT = TaskReport("recognition", in_words, page)
