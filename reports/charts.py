"""Charts of metrics, drawn without a display: bars, learning curves, error by teachers, layers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .canvas import new_figure, save
from .tables import Column, Statistic, Summary

History = Sequence[Mapping[str, Any]]
"""One training: a mapping per epoch with ``epoch`` and any metrics."""


def learning_curves(
    path: Path | str, histories: Mapping[str, Sequence[History]], columns: Sequence[Column]
) -> Path:
    """Draw each metric over the epochs: a line per method, the mean of its seeds, min to max shaded.

    Entries without the metric are left out, and so are epochs that not every seed reached.
    """
    figure = new_figure(5.0 * len(columns), 3.6)
    for axis, column in zip(figure.subplots(1, len(columns), squeeze=False)[0], columns, strict=True):
        for method, seeds in histories.items():
            series = [
                {entry["epoch"]: float(entry[column.metric]) for entry in history if column.metric in entry}
                for history in seeds
            ]
            epochs = sorted(set.intersection(*map(set, series))) if series else []
            if not epochs:
                continue
            values = column.scale * np.array([[one[epoch] for epoch in epochs] for one in series])
            (line,) = axis.plot(epochs, values.mean(axis=0), label=method, marker=".")
            axis.fill_between(
                epochs, values.min(axis=0), values.max(axis=0), alpha=0.15, color=line.get_color()
            )
        axis.set_xlabel("epoch")
        axis.set_title(column.title)
        axis.grid(alpha=0.3)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=8)
    return save(figure, path)


def bar_chart(
    path: Path | str, summary: Summary, columns: Sequence[Column], *, baseline: str | None = None
) -> Path:
    """Draw a chart per column: a bar per method with its standard deviation, the mean written beside it.

    With ``baseline`` (a method) the bars start at its mean, so that their length is what a method
    gained or lost; without, at zero.
    """
    figure = new_figure(5.0 * len(columns), 0.36 * len(summary) + 1.2)
    for axis, column in zip(figure.subplots(1, len(columns), squeeze=False)[0], columns, strict=True):
        methods = [method for method in summary if column.metric in summary[method]]
        statistics = [summary[method][column.metric] for method in methods]
        means = np.array([column.scale * statistic["mean"] for statistic in statistics])
        deviations = np.array([column.scale * (statistic["std"] or 0.0) for statistic in statistics])
        start = means[methods.index(baseline)] if baseline in methods else 0.0
        bars = axis.barh(methods, means - start, left=start, xerr=deviations, capsize=3)
        labels = [f"{mean:.{column.digits}f}" for mean in means]
        axis.bar_label(bars, labels=labels, padding=4, fontsize=8)
        axis.axvline(start, color="black", linewidth=0.8)
        axis.margins(x=0.2)
        axis.invert_yaxis()
        axis.set_title(column.title)
        if baseline in methods:
            axis.set_xlabel(f"bars start at {baseline}")
    return save(figure, path)


def error_curves(
    path: Path | str,
    summary: Summary,
    teachers: Sequence[int],
    *,
    ensembles: Mapping[str, Sequence[float]] | None = None,
) -> Path:
    """Draw error against the number of teachers, percent: a line per method with its standard deviation.

    Args:
        summary: with `error_N` for each number.
        teachers: the numbers.
        ensembles: number → the errors of the ensembles themselves, drawn as a dashed line.
    """
    lines = {
        method: {n: metrics[f"error_{n}"] for n in teachers if f"error_{n}" in metrics}
        for method, metrics in summary.items()
    }
    dashed = {int(n): float(np.mean(values)) for n, values in (ensembles or {}).items()}
    return _curves(path, lines, teachers, "teachers", "error, percent", dashed=dashed)


def layer_curves(path: Path | str, summary: Summary, layers: Sequence[Column]) -> Path:
    """Draw each method's accuracy by layer, percent, with its standard deviation."""
    lines = {
        method: {n: metrics[layer.metric] for n, layer in enumerate(layers, start=1)}
        for method, metrics in summary.items()
    }
    return _curves(path, lines, range(1, len(layers) + 1), "layer, from the stem", "linear probe, percent")


def _curves(
    path: Path | str,
    lines: Mapping[str, Mapping[int, Statistic]],
    ticks: Sequence[int],
    across: str,
    up: str,
    *,
    dashed: Mapping[int, float] | None = None,
) -> Path:
    figure = new_figure(6.0, 4.2)
    axis = figure.subplots()
    for method, line in lines.items():
        axis.errorbar(
            list(line),
            [100 * s["mean"] for s in line.values()],
            yerr=[100 * (s["std"] or 0.0) for s in line.values()],
            label=method,
            marker="o",
            capsize=3,
        )
    if dashed:
        axis.plot(
            list(dashed),
            [100 * value for value in dashed.values()],
            label="the teachers together",
            linestyle="--",
            marker=".",
            color="gray",
        )
    axis.set_xlabel(across)
    axis.set_ylabel(up)
    axis.set_xticks(list(ticks))
    axis.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=5, fontsize=8)
    return save(figure, path)
