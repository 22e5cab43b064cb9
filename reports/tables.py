"""Runs, their mean ± std over seeds, and tables of them for a page and for a terminal. No torch.

summary = summarize(runs)
console.print(terminal_table(summary, columns, baseline="none"))
page += markdown_table(summary, columns, baseline="none")
"""

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from ..common import UserError

if TYPE_CHECKING:
    from rich.table import Table


class Run(TypedDict):
    """One method trained with one seed. Metrics that are lists (per-class figures) are not summarized."""

    method: str
    seed: int
    metrics: dict[str, Any]
    subset_seed: NotRequired[int]
    """Seed of the teachers drawn from a pool."""


class Statistic(TypedDict):
    """Mean and sample standard deviation (n − 1 in the denominator; None for one run) over ``n`` seeds."""

    mean: float
    std: float | None
    n: int


Summary = dict[str, dict[str, Statistic]]


@dataclass(frozen=True)
class Column:
    """A metric as a table shows it."""

    metric: str
    """Key in the runs' metrics."""
    title: str
    """Heading."""
    scale: float = 100.0
    """Factor from the stored value to the shown one; 100 shows a fraction in percent."""
    digits: int = 1
    """Decimals."""
    lower: bool = False
    """Whether less is better."""


def summarize(runs: Iterable[Run]) -> Summary:
    """Mean, sample std and n of every scalar metric of every method, methods in order of appearance.

    Raises:
        ValueError: a method has the same seed twice, or a metric is not finite.
    """
    seeds: dict[str, set[tuple[int, int | None]]] = {}
    values: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        method, seed = run["method"], run["seed"]
        if (seed, run.get("subset_seed")) in seeds.setdefault(method, set()):
            raise UserError(f"method {method!r} has two runs with seed {seed}")
        seeds[method].add((seed, run.get("subset_seed")))
        metrics = values.setdefault(method, {})
        for name, value in run["metrics"].items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if not math.isfinite(value):
                raise UserError(f"{name} of method {method!r}, seed {seed}, is {value}")
            metrics.setdefault(name, []).append(float(value))
    return {
        method: {
            name: {
                "mean": statistics.fmean(series),
                "std": statistics.stdev(series) if len(series) > 1 else None,
                "n": len(series),
            }
            for name, series in metrics.items()
        }
        for method, metrics in values.items()
    }


def markdown_table(
    summary: Summary,
    columns: Sequence[Column],
    *,
    baseline: str | None = None,
    extra: Mapping[str, Mapping[str, str]] | None = None,
) -> str:
    """The summary as a Markdown table, a method per row: mean ± std over seeds, the best mean in bold.

    With ``baseline`` (a method) every other row also shows its difference from that method's mean.
    ``extra`` adds columns of text: heading → method → cell.
    """
    columns = present(summary, columns)
    extra = extra or {}
    headings = [*(column.title for column in columns), *extra, "n"]
    lines = [f"| method | {' | '.join(headings)} |", "|---|" + "---:|" * len(headings)]
    for method, cells in _cells(summary, columns, baseline, bold="**{}**"):
        cells += [cell_of.get(method, "–") for cell_of in extra.values()]
        lines.append(f"| {method} | {' | '.join([*cells, str(_seeds(summary, method))])} |")
    return "\n".join(lines) + "\n"


def terminal_table(
    summary: Summary, columns: Sequence[Column], *, baseline: str | None = None, title: str | None = None
) -> "Table":
    """The same table for a terminal (``rich.console.Console().print(table)``).

    One of more than six metrics leaves the differences from ``baseline`` to the report: a terminal of 80
    characters would cut them.
    """
    from rich.table import Table

    columns = present(summary, columns)
    baseline = baseline if len(columns) <= 6 else None
    table = Table(title=title)
    table.add_column("method", no_wrap=True)
    for column in columns:
        table.add_column(column.title, justify="right", overflow="fold")
    table.add_column("n", justify="right")
    for method, cells in _cells(summary, columns, baseline, bold="[bold]{}[/bold]"):
        table.add_row(method, *cells, str(_seeds(summary, method)))
    return table


def present(summary: Summary, columns: Sequence[Column]) -> list[Column]:
    """The columns that at least one method has."""
    return [column for column in columns if any(column.metric in metrics for metrics in summary.values())]


def last_epoch(columns: Sequence[Column]) -> list[Column]:
    """Without those of the best epoch, which the test set chose."""
    return [column for column in columns if not column.title.startswith("best")]


def means_of(summary: Summary, column: Column) -> dict[str, float]:
    """The mean of each method that has the metric."""
    return {m: metrics[column.metric]["mean"] for m, metrics in summary.items() if column.metric in metrics}


def _cells(
    summary: Summary, columns: Sequence[Column], baseline: str | None, *, bold: str
) -> Iterator[tuple[str, list[str]]]:
    """Each method with its cells, the best of a column in bold."""
    best = {column: best_of(summary, column) for column in columns}
    for method in summary:
        cells = {column: cell(summary, method, column, baseline) for column in columns}
        yield method, [bold.format(x) if method == best[column] else x for column, x in cells.items()]


def best_of(summary: Summary, column: Column) -> str | None:
    """The method with the best mean; None where there are not two that have the metric."""
    means = means_of(summary, column)
    return (min if column.lower else max)(means, key=means.__getitem__) if len(means) > 1 else None


def _seeds(summary: Summary, method: str) -> int:
    return max((statistic["n"] for statistic in summary[method].values()), default=0)


def cell(summary: Summary, method: str, column: Column, baseline: str | None = None) -> str:
    """Mean ± deviation as text, with the difference from another method's mean."""
    statistic = summary[method].get(column.metric)
    if statistic is None:
        return "–"
    text = f"{statistic['mean'] * column.scale:.{column.digits}f}"
    if statistic["std"] is not None:
        text += f" ± {statistic['std'] * column.scale:.{column.digits}f}"
    reference = summary.get(baseline or "", {}).get(column.metric)
    if reference is not None and method != baseline:
        text += f" ({(statistic['mean'] - reference['mean']) * column.scale:+.{column.digits}f})"
    return text
