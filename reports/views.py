"""Tables as values, shown on a terminal, in Markdown and in HTML (template/parts.jinja, `table`)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .tables import Column, Summary, best_of, present

if TYPE_CHECKING:
    from rich.table import Table

MIN_COLORED_DIFFERENCE = 0.5
"""A smaller difference, in units of both standard deviations together, is not colored."""
MAX_COMPARED_COLUMNS = 6
"""A terminal of 80 characters would cut the differences in a table of more columns."""


@dataclass(frozen=True)
class Cell:
    """One figure or word of a table; `str` of it is what Markdown and a terminal show."""

    text: str
    value: Any = None
    """Value that a table is sorted by; None comes last."""
    spread: str = ""
    """Standard deviation."""
    difference: str = ""
    """Difference from the baseline."""
    sense: str = ""
    """`good` or `bad`; empty for a difference within the standard deviations."""
    best: bool = False

    def __str__(self) -> str:
        text = f"{self.text} ± {self.spread}" if self.spread else self.text
        return f"{text} ({self.difference})" if self.difference else text


@dataclass(frozen=True)
class TableView:
    """Headings and rows; the first column is aligned left, the others right."""

    headings: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    folded: frozenset[int] = frozenset()
    """Columns that HTML hides behind a check box."""
    baseline: str | None = None
    """First cell of the row that the others are compared with."""
    shaded: bool = False
    """Whether HTML shades cells by their value, from 0 to 100."""

    def markdown(self) -> str:
        """Return the table in Markdown, the best of a column in bold."""
        lines = [f"| {' | '.join(self.headings)} |", "|---|" + "---:|" * (len(self.headings) - 1)]
        for row in self.rows:
            lines.append(f"| {' | '.join(f'**{cell}**' if cell.best else str(cell) for cell in row)} |")
        return "\n".join(lines) + "\n"

    def terminal(self, title: str | None = None) -> Table:
        """Return the table for `rich.console.Console().print`."""
        from rich.table import Table

        table = Table(title=title)
        for number, heading in enumerate(self.headings):
            table.add_column(
                heading, justify="right" if number else "left", overflow="fold", no_wrap=not number
            )
        for row in self.rows:
            table.add_row(*(f"[bold]{cell}[/bold]" if cell.best else str(cell) for cell in row))
        return table


def summary_view(
    summary: Summary,
    columns: Sequence[Column],
    *,
    baseline: str | None = None,
    extra: Mapping[str, Mapping[str, str]] | None = None,
) -> TableView:
    """View a summary with one row for each method: mean ± standard deviation over seeds.

    Args:
        summary: as `summarize` returns it.
        columns: metrics; those that no method has are left out.
        baseline: method from whose mean every other row shows its difference.
        extra: further columns of text: heading → method → cell.
    """
    columns, extra = present(summary, columns), extra or {}
    best = {column: best_of(summary, column) for column in columns}
    rows = []
    for method, metrics in summary.items():
        cells = [cell(summary, method, c, baseline, is_best=method == best[c]) for c in columns]
        cells += [Cell(words.get(method, "–"), words.get(method)) for words in extra.values()]
        n = max((statistic["n"] for statistic in metrics.values()), default=0)
        rows.append([Cell(method, method), *cells, Cell(str(n), n)])
    headings = ["method", *(column.title for column in columns), *extra, "n"]
    folded = frozenset(number for number, c in enumerate(columns, start=1) if is_best_epoch(c))
    return TableView(headings, rows, folded, baseline)


def rows_view(headings: Sequence[str], rows: Sequence[Sequence[Any]], digits: int = 1) -> TableView:
    """View rows of text and numbers: fractions with so many digits, None as –."""
    return TableView(headings, [[Cell(figure(x, digits), x) for x in row] for row in rows])


def terminal_table(
    summary: Summary, columns: Sequence[Column], *, baseline: str | None = None, title: str | None = None
) -> Table:
    """Return a summary for a terminal; a wide table leaves the differences from `baseline` to the report."""
    columns = present(summary, columns)
    compared = baseline if len(columns) <= MAX_COMPARED_COLUMNS else None
    return summary_view(summary, columns, baseline=compared).terminal(title)


def cell(
    summary: Summary, method: str, column: Column, baseline: str | None = None, *, is_best: bool = False
) -> Cell:
    """Return a method's mean ± standard deviation, with its difference from the mean of the baseline."""
    statistic, reference = (summary.get(m, {}).get(column.metric) for m in (method, baseline or ""))
    if statistic is None:
        return Cell("–")
    mean, std = statistic["mean"], statistic["std"]
    spread = "" if std is None else _shown(std, column)
    difference = sense = ""
    if reference is not None and method != baseline:
        gained = mean - reference["mean"]
        difference = _shown(gained, column, "+")
        if abs(gained) > MIN_COLORED_DIFFERENCE * ((std or 0.0) + (reference["std"] or 0.0)):
            sense = "good" if (gained > 0) != column.lower else "bad"
        if float(difference) == 0:
            sense = ""
    return Cell(_shown(mean, column), mean, spread, difference, sense, is_best)


def _shown(value: float, column: Column, sign: str = "") -> str:
    return f"{value * column.scale:{sign}.{column.digits}f}"


def figure(value: Any, digits: int) -> str:
    """Return a value as text: whole numbers with separated thousands, fractions with so many digits."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.{digits}f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def is_best_epoch(column: Column) -> bool:
    """Return whether a column is about the best epoch, which the test data selected."""
    return re.search(r"(^|_)best_", column.metric) is not None
