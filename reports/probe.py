"""The report of frozen networks judged by a linear probe and by nearest neighbors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .charts import scatter
from .page import Charts, Page, Part
from .tables import Column, Run
from .views import rows_view
from .words import data_in_words

if TYPE_CHECKING:
    from ..evaluation import Features, ProbeResult


class ProbeRow(NamedTuple):
    """One of the weights: its name in the table, its number among those of that name, where it is."""

    name: str
    number: int
    network: str
    weights: str


class Judged(NamedTuple):
    """A row with its figures, and its test features in the plane if wanted."""

    row: ProbeRow
    top1: float
    knn: float
    probe: ProbeResult
    statistics: str
    points: Features | None

    def as_run(self) -> Run:
        """The row of results.json."""
        details = self.probe._asdict() | {"network": self.row.network, "statistics": self.statistics}
        del details["top1"]
        metrics = {"top1": self.top1, "knn": self.knn, "probe": details}
        return {"method": self.row.name, "seed": self.row.number, "metrics": metrics}


def probe_page(judged: Sequence[Judged], class_names: Sequence[str], config: Any) -> Page:
    """Return the page of a comparison of frozen networks, without its command.

    Args:
        judged: rows of the table.
        class_names: of the test images.
        config: settings of the comparison: data, layer, grid, probe, neighbors.
    """
    data = config.data
    return Page(
        f"Frozen features on {data_in_words(data, data.source)}",
        (Column("top1", "linear probe"), Column("knn", f"{config.neighbors}-NN")),
        notes=method(config, judged),
        parts=[*_embeddings(judged, class_names)],
    )


def _embeddings(judged: Sequence[Judged], class_names: Sequence[str]) -> Iterator[Part]:
    """t-SNE of each of the weights, if it was asked for."""
    charts = []
    for row, points in ((one.row, one.points) for one in judged if one.points is not None):
        names = list(class_names) or list(map(str, range(1 + int(points.label.max()))))
        name = f"{row.name}, {row.number}" if row.number else row.name
        charts.append(scatter(name, *points, names))
    if charts:
        note = "t-SNE of the test images' features, colored by class; distances between groups say little."
        yield Charts("Features of the test images", charts, "embeddings.png", note)


def method(config: Any, judged: Sequence[Judged]) -> str:
    """How the figures came about, as Markdown: a paragraph, and a line for each of the weights."""
    first = judged[0].probe
    layer = "the embedding" if config.layer is None else f"map {config.layer}"
    if config.grid is not None:
        layer += f" averaged to {config.grid}×{config.grid}"
    setting = {"logistic": "C of a logistic regression", "sgd": "the learning rate of SGD"}[config.probe]
    headings = ("method", "number", "network", "dimensions", "chosen", "held-out accuracy")
    rows = [
        [
            *(one.row.name, one.row.number, one.row.network, one.probe.dimension),
            *(f"{one.probe.chosen:g}", 100 * max(one.probe.validation), one.statistics),
        ]
        for one in judged
    ]
    return (
        f"Top-1 on {first.n_test:,} test images, percent. Features: {layer}, networks frozen. The linear "
        f"probe is fitted on {first.n_train:,} training images; {setting} is the best on a fifth of them, "
        f"held out. k-NN: cosine similarity, {config.neighbors} neighbors, temperature 0.07.\n\n"
        + rows_view((*headings, "normalized with figures"), rows).markdown()
    )
