"""Result rows, and their mean ± standard deviation over seeds. No torch."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

from ..common import UserError


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


def present(summary: Summary, columns: Sequence[Column]) -> list[Column]:
    """The columns that at least one method has."""
    return [column for column in columns if any(column.metric in metrics for metrics in summary.values())]


def last_epoch(columns: Sequence[Column]) -> list[Column]:
    """Without those of the best epoch, which the test set chose."""
    return [column for column in columns if not column.title.startswith("best")]


def means_of(summary: Summary, column: Column) -> dict[str, float]:
    """The mean of each method that has the metric."""
    return {m: metrics[column.metric]["mean"] for m, metrics in summary.items() if column.metric in metrics}


def best_of(summary: Summary, column: Column) -> str | None:
    """The method with the best mean; None where there are not two that have the metric."""
    means = means_of(summary, column)
    return (min if column.lower else max)(means, key=means.__getitem__) if len(means) > 1 else None
