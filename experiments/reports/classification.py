"""The report of a compression run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..scenario import Outcome, Scenario, method_of
from .judged import SHOWN, confusion, embeddings, learning_curves, made_teachers
from .page import Page, Part, Picture
from .tables import Column, Summary
from .words import listed, teacher_figures

if TYPE_CHECKING:
    from crdkit.compression import CompressionConfig, CompressionPipeline
    from crdkit.engine import Accelerator
    from crdkit.evaluation import Features
    from crdkit.pipelines import RunResult

COLUMNS = (
    Column("top1", "top-1", digits=2),
    Column("best_top1", "best top-1", digits=2),
    Column("ema_top1", "EMA top-1", digits=2),
    Column("best_ema_top1", "best EMA top-1", digits=2),
    Column("top5", "top-5", digits=2),
    Column("agreement", "agreement with teacher"),
    Column("divergence", "KL from teacher", scale=1.0, digits=3, lower=True),
    Column("correlation_difference", "correlation difference", scale=1.0, digits=3, lower=True),
)

LARGE = 2000
"""Points of the picture of an embedding, if it was asked for."""


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
    """Test embeddings of the first seed's students by method: of all images if they are asked for, else of as
    many as a picture shows."""
    from crdkit.data import subset
    from crdkit.evaluation import extract

    config, device, test = pipeline.config, pipeline.accelerator.device, pipeline.images.test
    if len(test) > SHOWN and not config.tsne:
        test = subset(test, [int(i * len(test) / SHOWN) for i in range(SHOWN)])
    chosen = [done for done in runs if done.seed == config.seed[0]]
    return {done.method: extract(done.network, test, modality="rgb", device=device) for done in chosen}


def page(outcome: Outcome) -> Page:
    """Learning curves, embeddings, confusion, correlations of the classes, costs."""
    from .pictures import matrix_picture

    pipeline, pictures = outcome.pipeline, outcome.pictures
    config, classes = pipeline.config, pipeline.images.test.class_names
    parts = learning_curves(outcome.runs, COLUMNS[:1], pictures, method_of)
    parts += embeddings(outcome.extra, classes, pictures, limit=LARGE if config.tsne else SHOWN)
    parts += confusion(outcome.runs, classes or class_numbers(pipeline.images), method_of)
    differences = {
        done.method: done.details["correlation"] - done.details["teacher_correlation"]
        for done in outcome.runs
        if done.seed == config.seed[0] and "teacher_correlation" in done.details
    }
    if differences:
        matrix_picture(pictures / "correlation.png", differences)
        heading = "Correlation of the classes' logits, the student's less the teacher's"
        parts.append(Picture(heading, "correlation.png"))
    parts.append(_cost(outcome))
    teacher = listed(config.teacher.architecture)
    figures = f"Teacher {teacher}: {teacher_figures(outcome.teachers)}. " if outcome.teachers else ""
    return Page(
        f"{teacher} to {config.student}",
        outcome.columns,
        parts=parts,
        headline="top1",
        notes=f"{figures}Student {config.student}.",
    )


def class_numbers(images: Any) -> list[str]:
    """Names for classes without."""
    return [str(number) for number in range(images.num_classes)]


def _cost(outcome: Outcome) -> Part:
    from .cost import cost_table

    first = {"rgb": outcome.pipeline.images.test[0]["rgb"][None]}
    return cost_table(outcome.pictures.parent, outcome.runs, first["rgb"], made_teachers(outcome, first))


SCENARIO = Scenario("compression", make_pipeline, in_words, columns, page, collect=features)
