"""Parts that several tasks' reports have: learning curves, confusion, classes, embeddings, costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .charts import over_epochs, scatter
from .outcome import method_of
from .page import Charts, Confusion, Part, Table
from .tables import Column, Run

if TYPE_CHECKING:
    from ..evaluation import Features
    from ..pipelines import RunResult

SHOWN = 600
"""Points of a picture of an embedding: what a minute of t-SNE draws of a dozen methods."""
CLASSES = 200
"""A confusion of more classes is not kept."""


def learning_curves(
    runs: Sequence[RunResult], columns: Sequence[Column], name: Callable[[RunResult], str] = method_of
) -> list[Part]:
    """Metrics over the epochs, if any training has them."""
    histories: dict[str, list[list[dict[str, Any]]]] = {}
    for done in runs:
        histories.setdefault(name(done), []).append(done.history)
    charts = over_epochs(histories, columns)
    if not charts:
        return []
    several = any(len(seeds) > 1 for seeds in histories.values())
    note = (
        "A line is the mean of the seeds, the band reaches from the smallest to the largest."
        if several
        else ""
    )
    return [Charts("Learning curves", charts, "curves.png", note)]


def class_table(runs: Sequence[Run], classes: Sequence[str], metric: str, heading: str) -> list[Part]:
    """A figure of each class, percent, the mean over seeds: a row a class, a column a method."""
    found: dict[str, list[Sequence[float | None]]] = {}
    for run in runs:
        if metric in run["metrics"]:
            found.setdefault(run["method"], []).append(run["metrics"][metric])
    if not found:
        return []
    rows: list[list[Any]] = []
    for number, name in enumerate(classes):
        cells: list[Any] = [name]
        for seeds in found.values():
            values = [one[number] for one in seeds]
            known = [value for value in values if value is not None and value == value]
            cells.append(100 * sum(known) / len(known) if known else None)
        if any(cell is not None for cell in cells[1:]):
            rows.append(cells)
    note = (
        "Percent, the mean over seeds; – is a class that occurs neither in the labels nor in the predictions."
    )
    return [Table(heading, ["class", *found], rows, note=note, shaded=True)]


def confusion(
    runs: Sequence[RunResult], classes: Sequence[str], name: Callable[[RunResult], str] = method_of
) -> list[Part]:
    """The confusion of the first seed's students, of all classes that occur."""
    counts: dict[str, Any] = {}
    for done in runs:
        if "confusion" in done.details and done.seed == runs[0].seed and len(classes) <= CLASSES:
            counts.setdefault(name(done), done.details["confusion"])
    if not counts:
        return []
    occur = [
        n
        for n in range(len(classes))
        if any(sum(rows[n]) or any(row[n] for row in rows) for rows in counts.values())
    ]
    kept = {method: [[rows[i][j] for j in occur] for i in occur] for method, rows in counts.items()}
    return [Confusion("Confusion", [classes[n] for n in occur], kept)]


def embeddings(features: Mapping[str, Features], classes: Sequence[str], *, limit: int = SHOWN) -> list[Part]:
    """t-SNE of the test embeddings of each method; none of fewer than 4 samples."""
    from ..evaluation import tsne

    charts = [
        scatter(method, *tsne(vectors, limit=limit), classes)
        for method, vectors in features.items()
        if len(vectors.label) >= 4
    ]
    if not charts:
        return []
    count = len(charts[0].points)
    note = (
        f"t-SNE of {count} test samples, first seed, colored by class; distances between groups say little."
    )
    return [Charts("Embedding of the test samples", charts, "embeddings.png", note)]
