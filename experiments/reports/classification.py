"""The report of a compression run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..scenario import Outcome, Scenario
from .report import Page, listed, teacher_figures
from .tables import Column, Summary

if TYPE_CHECKING:
    from crdkit.compression import CompressionConfig, CompressionPipeline
    from crdkit.engine import Accelerator
    from crdkit.evaluation import Features
    from crdkit.transfer import RunResult

COLUMNS = (
    Column("top1", "top-1", digits=2),
    Column("best_top1", "best top-1", digits=2),
    Column("top5", "top-5", digits=2),
    Column("agreement", "agreement with teacher"),
    Column("divergence", "KL from teacher", scale=1.0, digits=3, lower=True),
    Column("correlation_difference", "correlation difference", scale=1.0, digits=3, lower=True),
)


def make_pipeline(config: CompressionConfig, accelerator: Accelerator, folder: Path) -> CompressionPipeline:
    """The pipeline over the configuration's images."""
    from crdkit.compression import CompressionPipeline
    from crdkit.data import load_splits

    return CompressionPipeline(config, load_splits(config.data, accelerator.device), accelerator, folder)


def in_words(done: RunResult) -> str:
    """A run's accuracy, for a line of the terminal."""
    return f"top-1 {100 * done.metrics['top1']:.2f}"


def columns(config: CompressionConfig | None, summary: Summary) -> list[Column]:
    """`COLUMNS`, and one for each other set of images that a linear probe judged."""
    probes = dict.fromkeys(n for method in summary.values() for n in method if n.startswith("probe_"))
    named = (Column(name, f"probe: {name.removeprefix('probe_')}", digits=2) for name in probes)
    return [*COLUMNS, *named]


def features(pipeline: Any, runs: Sequence[RunResult]) -> dict[str, Features]:
    """The test embeddings of the first seed's students by method, if they are to be drawn."""
    from crdkit.evaluation import extract

    config, device = pipeline.config, pipeline.accelerator.device
    chosen = [done for done in runs if config.tsne and done.seed == config.seed[0]]
    test = pipeline.images.test
    return {done.method: extract(done.network, test, modality="rgb", device=device) for done in chosen}


def page(outcome: Outcome) -> Page:
    """Learning curves, correlations of the classes, and on demand t-SNE."""
    from .pictures import embedding_picture, matrix_picture

    config, drawn = outcome.pipeline.config, {}
    differences = {
        done.method: done.details["correlation"] - done.details["teacher_correlation"]
        for done in outcome.runs
        if done.seed == config.seed[0] and "teacher_correlation" in done.details
    }
    if differences:
        matrix_picture(outcome.pictures / "correlation.png", differences)
        drawn["Correlation of the classes' logits, the student's less the teacher's"] = "correlation.png"
    for method, vectors in outcome.extra.items():
        from crdkit.evaluation import tsne

        name = f"tsne-{method}.png"
        names = outcome.pipeline.images.test.class_names or None
        embedding_picture(outcome.pictures / name, *tsne(vectors), class_names=names)
        drawn[f"Test embeddings of {method}, t-SNE"] = name
    teacher = listed(config.teacher.architecture)
    figures = f"Teacher {teacher}: {teacher_figures(outcome.teachers)}. " if outcome.teachers else ""
    return {
        "title": f"{teacher} to {config.student}",
        "notes": f"{figures}Student {config.student}.",
        "curves": COLUMNS[:1],
        "drawn": drawn,
    }


SCENARIO = Scenario("compression", make_pipeline, in_words, columns, page, collect=features)
