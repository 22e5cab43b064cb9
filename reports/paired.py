"""How sure an order is: differences of runs that share their seed, which shares the first weights, the order
of the samples and the labels drawn. No torch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from .page import Table
from .tables import Column, Run, Summary, best_of, last_epoch, present

ERROR = "± standard error, * where the 95 % interval by Student's t leaves out 0"
NOTE = f"the difference of each seed that both have, then its mean {ERROR}"


def paired(first: Sequence[Run], other: Sequence[Run], metric: str) -> dict[str, list[float]]:
    """For each method of both, `other` less `first` for each seed (and draw of the teachers) of both."""
    ours, theirs = _by_method(first), _by_method(other)
    found = {name: _less(runs, ours[name], metric) for name, runs in theirs.items() if name in ours}
    return {name: differences for name, differences in found.items() if differences}


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
    """Mean ± standard error, with a star if it is sure; without the latter two for one, None for none."""
    if not differences:
        return None
    shown = [column.scale * each for each in differences]
    mean = statistics.fmean(shown)
    text = f"{mean:+.{column.digits}f}"
    if len(shown) > 1:
        error = statistics.stdev(shown) / math.sqrt(len(shown))
        text += f" ± {error:.{column.digits}f}{' *' if abs(mean) > reach(len(shown)) * error else ''}"
    return text


def reach(n: int) -> float:
    """Half the 95 % interval of a mean of n, in standard errors: of 3 seeds 4.3, of 5 seeds 2.8."""
    from scipy.special import stdtrit

    return float(stdtrit(n - 1, 0.975))


def less_others(runs: Sequence[Run], method: str, columns: Sequence[Column]) -> Table:
    """A method less each other method of the same run, a row for each of those."""
    rows = _by_method(runs)
    own = rows.pop(method)
    pairs = {other: (own, theirs) for other, theirs in rows.items()}
    return _table(f"{method} less the others", "less", pairs, columns)


def less_reference(runs: Sequence[Run], reference: Sequence[Run], columns: Sequence[Column]) -> Table:
    """Each method less one of another run, whose rows `reference` are; a row for each of the former."""
    pairs = {name: (rows, reference) for name, rows in _by_method(runs).items()}
    return _table("less another run's", "method", pairs, columns)


def less_same(runs: Sequence[Run], others: Sequence[Run], columns: Sequence[Column]) -> Table:
    """Each method less the same one of another run, a row for each that both have."""
    theirs = _by_method(others)
    pairs = {name: (rows, theirs[name]) for name, rows in _by_method(runs).items() if name in theirs}
    return _table("less the other run's", "method", pairs, columns)


def best_less_others(
    runs: Sequence[Run], summary: Summary, columns: Sequence[Column], headline: str | None
) -> list[Table]:
    """`less_others` of the method that is best by the headline's metric; none for one method or one seed."""
    shown = last_epoch(present(summary, columns))
    judged = next((column for column in shown if column.metric == headline), shown[0] if shown else None)
    if judged is None or len({_draw(run) for run in runs}) < 2:
        return []
    best = best_of(summary, judged)
    return [] if best is None else [less_others(runs, best, shown)]


def _table(
    heading: str,
    first: str,
    pairs: Mapping[str, tuple[Sequence[Run], Sequence[Run]]],
    columns: Sequence[Column],
) -> Table:
    """A row for each pair: the one method's runs less the other's."""
    gains = {
        column: {name: _less(runs, others, column.metric) for name, (runs, others) in pairs.items()}
        for column in columns
    }
    headings = [first, *(column.title for column in columns), "seeds"]
    return Table(heading, headings, rows_of(gains), note=f"Paired: {NOTE}.")


def _less(runs: Sequence[Run], others: Sequence[Run], metric: str) -> list[float]:
    """One method's runs less another's, for each seed and draw of both."""
    before = {_draw(run): run["metrics"].get(metric) for run in others}
    pairs = [(run["metrics"].get(metric), before.get(_draw(run))) for run in runs]
    return [new - old for new, old in pairs if new is not None and old is not None]


def _by_method(runs: Sequence[Run]) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run["method"], []).append(run)
    return found


def _draw(run: Run) -> tuple[int, int | None]:
    return run["seed"], run.get("subset_seed")
