"""The ablations of the contrastive core: a table, and a panel an axis."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crdkit.reports.canvas import new_figure, save
from crdkit.reports.paired import ERROR, gain, paired
from crdkit.reports.tables import Column, Run, summarize
from crdkit.reports.views import cell, rows_view

COLUMNS = (Column("top1", "top-1", digits=2), Column("best_top1", "best top-1", digits=2))


def table(results: Mapping[str, Any]) -> str:
    """Every value of every axis: accuracy, and by seed how much above the published value."""
    rows = []
    for name in dict.fromkeys(point["axis"] for point in results["points"]):
        points = [point for point in results["points"] if point["axis"] == name]
        published = next(point["runs"] for point in points if point["published"])
        for point in points:
            runs: Sequence[Run] = point["runs"]
            cells = [_in_words(runs, column) for column in COLUMNS]
            above = paired(published, runs, "top1").get("crd", []) if not point["published"] else []
            value = f"{point['value']:,}" if isinstance(point["value"], int) else str(point["value"])
            mark = " (published)" if point["published"] else ""
            rows.append([point["words"], f"{value}{mark}", *cells, gain(above, COLUMNS[0]), len(runs)])
    rows.append(
        [
            "the student alone",
            None,
            *(_in_words(results["alone"], c) for c in COLUMNS),
            None,
            len(results["alone"]),
        ]
    )
    config = results["config"]
    headings = ["", "value", *(column.title for column in COLUMNS), "less published", "n"]
    return (
        f"{rows_view(headings, rows).markdown()}\nMean ± sample standard deviation over seeds, percent; "
        f"differences by seed, {ERROR}. Teacher {config['teacher'][0]}, student {config['student']}, "
        f"{config['data']['classes'] or 'all'} classes, {config['epochs']} epochs.\n"
    )


def curves(path: Path, results: Mapping[str, Any]) -> None:
    """The last epoch's accuracy along each axis: the mean of the seeds, from the lowest to the highest."""
    names = list(dict.fromkeys(point["axis"] for point in results["points"]))
    figure = new_figure(3.4 * len(names), 3.4)
    alone = 100 * float(np.mean([run["metrics"]["top1"] for run in results["alone"]]))
    for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        points = [point for point in results["points"] if point["axis"] == name]
        scores = 100 * np.array([[run["metrics"]["top1"] for run in point["runs"]] for point in points])
        places = np.arange(len(points))
        axis.errorbar(
            places,
            scores.mean(1),
            [scores.mean(1) - scores.min(1), scores.max(1) - scores.mean(1)],
            marker="o",
            capsize=3,
            linestyle="-" if isinstance(points[0]["value"], float | int) else "",
        )
        axis.axhline(alone, color="gray", linestyle="--", linewidth=1)
        labels = [f"{p['value']}{'*' if p['published'] else ''}" for p in points]
        axis.set_xticks(places, labels, rotation=30)
        axis.set(title=points[0]["words"], ylabel="top-1, percent")
        axis.grid(alpha=0.3)
    save(figure, path)


def _in_words(runs: Sequence[Run], column: Column) -> str:
    (method,) = summary = summarize(runs)
    return str(cell(summary, method, column))
