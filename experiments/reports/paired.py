"""How sure an order is: differences of runs that share their seed, which shares the first weights, the order
of the samples and the labels drawn. No torch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from .page import Table
from .tables import Column, Run, Summary, best_of, last_epoch, present

NOTE = "the difference of each seed that both have, then its mean ± standard error"


def paired(first: Sequence[Run], other: Sequence[Run], metric: str) -> dict[str, list[float]]:
    """For each method of both, `other` less `first` for each seed (and draw of the teachers) of both."""
    before = {_key(run): run["metrics"].get(metric) for run in first}
    found: dict[str, list[float]] = {}
    for run in other:
        old, new = before.get(_key(run)), run["metrics"].get(metric)
        if old is not None and new is not None:
            found.setdefault(run["method"], []).append(new - old)
    return found


def rows_of(gains: Mapping[Column, Mapping[str, Sequence[float]]]) -> list[list[Any]]:
    """A row a method: its differences in each column, and how many there are at the most."""
    methods = dict.fromkeys(method for each in gains.values() for method in each)
    return [
        [
            method,
            *(gain(each.get(method, ()), column) for column, each in gains.items()),
            max(len(each.get(method, ())) for each in gains.values()),
        ]
        for method in methods
    ]


def gain(differences: Sequence[float], column: Column) -> str | None:
    """Mean ± standard error; without the latter for one, None for none."""
    if not differences:
        return None
    shown = [column.scale * each for each in differences]
    text = f"{statistics.fmean(shown):+.{column.digits}f}"
    if len(shown) > 1:
        text += f" ± {statistics.stdev(shown) / math.sqrt(len(shown)):.{column.digits}f}"
    return text


def less_others(runs: Sequence[Run], method: str, columns: Sequence[Column]) -> Table:
    """A method less each other method of the same run, a row for each of those."""
    own = [run for run in runs if run["method"] == method]
    others = dict.fromkeys(run["method"] for run in runs if run["method"] != method)
    as_own: dict[str, list[Run]] = {
        other: [{**run, "method": method} for run in runs if run["method"] == other] for other in others
    }
    gains = {
        column: {other: paired(rows, own, column.metric).get(method, []) for other, rows in as_own.items()}
        for column in columns
    }
    headings = ["less", *(column.title for column in columns), "seeds"]
    return Table(f"{method} less the others", headings, rows_of(gains), note=f"Paired: {NOTE}.")


def less_reference(runs: Sequence[Run], reference: Sequence[Run], columns: Sequence[Column]) -> Table:
    """Each method less one of another run, whose rows `reference` are; a row for each of the former."""
    names = dict.fromkeys(run["method"] for run in runs)
    as_each: list[Run] = [{**run, "method": name} for name in names for run in reference]
    gains = {column: paired(as_each, runs, column.metric) for column in columns}
    headings = ["method", *(column.title for column in columns), "seeds"]
    return Table("less another run's", headings, rows_of(gains), note=f"Paired: {NOTE}.")


def best_less_others(
    runs: Sequence[Run], summary: Summary, columns: Sequence[Column], headline: str | None
) -> list[Table]:
    """`less_others` of the method that is best by the headline's metric; none for one method or one seed."""
    shown = last_epoch(present(summary, columns))
    judged = next((column for column in shown if column.metric == headline), shown[0] if shown else None)
    if judged is None or len({_key(run)[1:] for run in runs}) < 2:
        return []
    best = best_of(summary, judged)
    return [] if best is None else [less_others(runs, best, shown)]


def _key(run: Run) -> tuple[str, int, int | None]:
    return run["method"], run["seed"], run.get("subset_seed")
