"""The report of a compression run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .cost import cost_table
from .judged import SHOWN, confusion, embeddings, learning_curves
from .outcome import Outcome, TaskReport
from .page import Page, Picture
from .tables import Column, Summary
from .words import listed, teacher_figures

if TYPE_CHECKING:
    from ..pipelines import RunResult

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


def in_words(done: RunResult) -> str:
    """A run's accuracy, for a line of the terminal."""
    return f"top-1 {100 * done.metrics['top1']:.2f}"


def columns(summary: Summary) -> list[Column]:
    """`COLUMNS`, and one for each other set of images that a linear probe judged."""
    probes = dict.fromkeys(n for method in summary.values() for n in method if n.startswith("probe_"))
    named = (Column(name, f"probe: {name.removeprefix('probe_')}", digits=2) for name in probes)
    return [*COLUMNS, *named]


def page(outcome: Outcome) -> Page:
    """Learning curves, embeddings, confusion, correlations of the classes, costs."""
    from .pictures import matrix_picture

    config, classes, pictures = outcome.config, outcome.class_names, outcome.pictures
    parts = learning_curves(outcome.runs, COLUMNS[:1])
    parts += embeddings(outcome.features, classes, limit=LARGE if config.tsne else SHOWN)
    parts += confusion(outcome.runs, classes)
    differences = {
        done.method: done.details["correlation"] - done.details["teacher_correlation"]
        for done in outcome.first_seed
        if "teacher_correlation" in done.details
    }
    if differences:
        matrix_picture(pictures / "correlation.png", differences)
        heading = "Correlation of the classes' logits, the student's less the teacher's"
        parts.append(Picture(heading, "correlation.png"))
    parts.append(cost_table(outcome))
    teacher = listed(config.teacher.architecture)
    figures = (
        f"Teacher {teacher}: {teacher_figures(outcome.teacher_metrics)}. " if outcome.teacher_metrics else ""
    )
    return Page(
        f"{teacher} to {config.student}",
        columns(outcome.summary),
        parts=parts,
        headline="top1",
        notes=f"{figures}Student {config.student}.",
    )


REPORT = TaskReport("compression", in_words, page)
