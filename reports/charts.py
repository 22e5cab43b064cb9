"""Charts as values: series in the units that are shown. `drawing` makes pictures of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .tables import Column, Run, Statistic

History = Sequence[Mapping[str, Any]]
"""One training: a mapping per epoch with `epoch` and any metrics."""


@dataclass(frozen=True)
class Line:
    """One line of a chart."""

    name: str
    x: Sequence[float]
    mean: Sequence[float]
    low: Sequence[float] = ()
    """Lower edge of the band about the line; no band if absent."""
    high: Sequence[float] = ()
    dashed: bool = False


@dataclass(frozen=True)
class Lines:
    """Lines over one axis."""

    title: str
    lines: Sequence[Line]
    across: str = "epoch"
    """Title of the horizontal axis."""


@dataclass(frozen=True)
class Strip:
    """One row for each method: a dot for each run and a bar at their mean."""

    title: str
    values: Mapping[str, Sequence[float]]
    digits: int = 1
    """Decimals of the means."""


@dataclass(frozen=True)
class Points:
    """Points in the plane, colored by class."""

    title: str
    points: Sequence[tuple[float, float, int]]
    """x, y, class."""
    classes: Sequence[str]


Chart = Lines | Strip | Points


def over_epochs(histories: Mapping[str, Sequence[History]], columns: Sequence[Column]) -> list[Lines]:
    """Return a chart for each metric that a training has: a line for each name, the mean of its seeds, with a
    band from the smallest to the largest, over the epochs that all of them have."""
    charts = []
    for column in columns:
        lines = []
        for name, seeds in histories.items():
            series = [
                {
                    entry["epoch"]: column.scale * float(entry[column.metric])
                    for entry in history
                    if column.metric in entry
                }
                for history in seeds
            ]
            epochs = sorted(set.intersection(*map(set, series))) if series else []
            if epochs:
                rows = [[one[epoch] for one in series] for epoch in epochs]
                mean = [round(sum(row) / len(row), 6) for row in rows]
                band = ([min(row) for row in rows], [max(row) for row in rows]) if len(series) > 1 else ()
                lines.append(Line(name, epochs, mean, *band))
        if lines:
            charts.append(Lines(column.title, lines))
    return charts


def line_of(name: str, values: Sequence[tuple[float, Statistic]], scale: float) -> Line:
    """Return a line of means, with a band of one standard deviation if there are several seeds."""
    x = [place for place, _ in values]
    mean = [scale * statistic["mean"] for _, statistic in values]
    std = [scale * (statistic["std"] or 0.0) for _, statistic in values]
    if not any(std):
        return Line(name, x, mean)
    low, high = ([m + sign * s for m, s in zip(mean, std, strict=True)] for sign in (-1, 1))
    return Line(name, x, mean, low, high)


def strip_of(runs: Sequence[Run], column: Column) -> Strip | None:
    """Return the values of every run of every method; None if no run has the metric."""
    values: dict[str, list[float]] = {}
    for run in runs:
        value = run["metrics"].get(column.metric)
        if isinstance(value, int | float):
            values.setdefault(run["method"], []).append(column.scale * value)
    title = f"{column.title}, less is better" if column.lower else column.title
    return Strip(title, values, column.digits) if values else None


def scatter(title: str, place: Any, label: Any, classes: Sequence[str]) -> Points:
    """Return points (N, 2) with their classes (N,)."""
    rows = zip(place.tolist(), label.tolist(), strict=True)
    return Points(title, [(round(x, 3), round(y, 3), int(c)) for (x, y), c in rows], list(classes))
