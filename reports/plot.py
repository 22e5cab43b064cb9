"""Where the marks of a chart lie: plain numbers, from which the template of report.html makes SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .page import Chart, Line, Scatter
from .tables import Column, Run, Statistic

WIDTH, HEIGHT = 420.0, 260.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 10.0, 10.0, 34.0


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` on the pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    step: float

    def __call__(self, value: float) -> float:
        """The pixel of a value, to a tenth."""
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start), 1)

    def ticks(self) -> list[tuple[float, str]]:
        """Pixel and label of each round number within."""
        digits = max(0, -math.floor(math.log10(self.step)))
        first, last = math.ceil(self.low / self.step - 1e-9), math.floor(self.high / self.step + 1e-9)
        values = [n * self.step for n in range(first, last + 1)]
        return [(self(value), f"{value:.{digits}f}") for value in values]


def axis_of(
    values: Sequence[float],
    start: float,
    end: float,
    *,
    ticks: int = 5,
    room: float = 0.06,
    whole: bool = False,
) -> Axis:
    """An axis with about so many ticks at 1, 2 or 5 times a power of ten.

    Args:
        values: that it shows, at least one.
        room: left free at both ends, as a share of the span.
        whole: ticks at whole numbers only.
    """
    low, high = min(values), max(values)
    pad = (high - low) * room if high > low else abs(low) * 0.05 or 1.0
    low, high = low - pad, high + pad
    rough = (high - low) / ticks
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return Axis(low, high, start, end, max(step, 1.0) if whole else step)


def lines_of(chart: Chart, order: Sequence[str]) -> dict[str, Any]:
    """A chart's ticks, and for each line its points, its band and its color's number."""
    lines = [line for line in chart.lines if line.x]
    heights = [value for line in lines for values in (line.mean, line.low, line.high) for value in values]
    across = [x for line in lines for x in line.x]
    x = axis_of(across, LEFT, WIDTH - RIGHT, room=0.03, whole=all(float(v).is_integer() for v in across))
    y = axis_of(heights, HEIGHT - BOTTOM, TOP)
    drawn = []
    for line in lines:
        band = [(x(a), y(b)) for a, b in zip(line.x, line.high, strict=False)]
        band += [(x(a), y(b)) for a, b in zip(line.x, line.low, strict=False)][::-1]
        points = [(x(a), y(b)) for a, b in zip(line.x, line.mean, strict=True)]
        drawn.append(
            {
                "name": line.name,
                "color": color_of(line.name, order),
                "dashed": line.dashed,
                "points": points,
                "band": band if line.low and line.low != line.mean else [],
                "values": list(line.mean),
            }
        )
    return {"title": chart.title, "across": chart.across, "x": x.ticks(), "y": y.ticks(), "lines": drawn}


def strip_of(runs: Sequence[Run], column: Column, order: Sequence[str]) -> dict[str, Any] | None:
    """One row for each method: a dot for each run and a mark at their mean; None if no run has the metric."""
    found: dict[str, list[float]] = {}
    for run in runs:
        value = run["metrics"].get(column.metric)
        if isinstance(value, int | float):
            found.setdefault(run["method"], []).append(column.scale * value)
    if not found:
        return None
    longest = max(map(len, found))
    left = min(180.0, 24 + 7.0 * longest)
    width, row = 440.0, 24.0
    height = row * len(found) + 34
    x = axis_of([v for values in found.values() for v in values], left, width - 56)
    rows = []
    for number, (method, values) in enumerate(found.items()):
        mean = sum(values) / len(values)
        rows.append(
            {
                "name": method,
                "color": color_of(method, order),
                "y": row * number + row / 2 + 4,
                "dots": [x(value) for value in values],
                "mean": x(mean),
                "label": f"{mean:.{column.digits}f}",
            }
        )
    return {
        "title": column.title,
        "width": width,
        "height": height,
        "left": left,
        "x": x.ticks(),
        "rows": rows,
        "lower": column.lower,
        "several": any(len(values) > 1 for values in found.values()),
    }


def points_of(scatter: Scatter) -> dict[str, dict[str, Any]]:
    """For each method the points, (x, y, class), in a square of 300."""
    plots = {}
    for method, points in scatter.points.items():
        x = axis_of([point[0] for point in points], 6, 294, room=0.02)
        y = axis_of([point[1] for point in points], 294, 6, room=0.02)
        plots[method] = {"points": [(x(a), y(b), int(label)) for a, b, label in points]}
    return plots


def color_of(name: str, order: Sequence[str]) -> int:
    """The number of a name's color: that of its place among the methods, or one of its own after them."""
    names = [*order, *([] if name in order else [name])]
    return names.index(name) % 10


def confusion_cells(counts: Sequence[Sequence[int]]) -> list[list[float | None]]:
    """Each row in percent of its sum; None in a row without a sample."""
    return [[100 * n / total if total else None for n in row] for row in counts for total in [sum(row)]]


def most_confused(
    counts: Sequence[Sequence[int]], classes: Sequence[str], *, most: int = 8
) -> list[tuple[str, str, float]]:
    """True class, the class it was taken for, percent of the true one: the most frequent errors."""
    cells = confusion_cells(counts)
    errors = [
        (classes[i], classes[j], value)
        for i, row in enumerate(cells)
        for j, value in enumerate(row)
        if i != j and value
    ]
    return sorted(errors, key=lambda error: -error[2])[:most]


def charted(
    histories: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]], columns: Sequence[Column]
) -> list[Chart]:
    """A chart for each metric: a line for each method, the mean of its seeds, with a band from the smallest
    to the largest, over the epochs that all of them have."""
    charts = []
    for column in columns:
        lines = []
        for method, seeds in histories.items():
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
                low, high = [min(row) for row in rows], [max(row) for row in rows]
                mean = [round(sum(row) / len(row), 6) for row in rows]
                lines.append(
                    Line(method, epochs, mean, low, high) if len(series) > 1 else Line(method, epochs, mean)
                )
        if lines:
            charts.append(Chart(column.title, lines))
    return charts


def line_of(name: str, values: Sequence[tuple[float, Statistic]], scale: float) -> Line:
    """A line of means, with a band of one deviation if there are several seeds."""
    x = [place for place, _ in values]
    mean = [scale * statistic["mean"] for _, statistic in values]
    spread = [scale * (statistic["std"] or 0.0) for _, statistic in values]
    if not any(spread):
        return Line(name, x, mean)
    low = [m - s for m, s in zip(mean, spread, strict=True)]
    return Line(name, x, mean, low, [m + s for m, s in zip(mean, spread, strict=True)])
