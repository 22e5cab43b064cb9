"""What a report says, part by part: made once by a run, kept as report.json, shown as HTML and Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..data import DataError
from .charts import Chart, Line, Lines, Points, Strip
from .results import write_sealed
from .tables import Column, Statistic, present
from .views import TableView, rows_view

FILE = "report.json"


@dataclass(frozen=True)
class Text:
    """Markdown under a heading; its pictures are files of the run folder."""

    heading: str
    markdown: str


@dataclass(frozen=True)
class Picture:
    """A picture in the run folder's `pictures/`."""

    heading: str
    file: str


@dataclass(frozen=True)
class Charts:
    """Charts of one kind side by side; `file` is their picture in `pictures/`."""

    heading: str
    charts: Sequence[Chart]
    file: str
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of text and numbers, None for what is not there."""

    heading: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""
    digits: int = 1
    shaded: bool = False
    """Whether cells are shaded by their value, from 0 to 100."""

    @property
    def view(self) -> TableView:
        """The rows as text."""
        return replace(rows_view(self.columns, self.rows, self.digits), shaded=self.shaded)


@dataclass(frozen=True)
class Predictions:
    """Samples: what the networks see, the truth, and each method's prediction."""

    heading: str
    file: str
    """All of them in one picture."""
    inputs: Sequence[str]
    """Names of what is seen, in the samples."""
    methods: Sequence[str]
    samples: Sequence[Mapping[str, str]]
    """For each name, `truth` and each method the file in `pictures/`."""
    classes: Sequence[tuple[str, str]] = ()
    """Name and color of those that occur."""
    note: str = ""


@dataclass(frozen=True)
class Confusion:
    """For each method how often a true class (row) was named as another (column)."""

    heading: str
    classes: Sequence[str]
    counts: Mapping[str, Sequence[Sequence[int]]]


Part = Text | Picture | Charts | Table | Predictions | Confusion
KINDS: dict[str, type] = {
    kind.__name__.lower(): kind for kind in (Text, Picture, Charts, Table, Predictions, Confusion)
}
CHARTS: dict[str, type[Chart]] = {"lines": Lines, "points": Points, "values": Strip}
"""Kinds of charts, by the field that each has alone."""


@dataclass(frozen=True)
class Page:
    """A report, apart from the figures, the settings and the environment, which are in results.json."""

    title: str
    columns: Sequence[Column] = ()
    """Metrics of the table."""
    notes: str = ""
    """Markdown placed under the title."""
    parts: Sequence[Part] = ()
    baseline: str | None = None
    """The method that the others are compared with."""
    headline: str | None = None
    """The metric that is told first; that of the first column if absent."""
    headline_title: str = ""
    """What the headline is of, if the column's title does not say it alone."""
    command: str = ""
    """The command line that repeats the run."""

    def main_column(self, summary: Mapping[str, Mapping[str, Statistic]]) -> Column | None:
        """The column that the headline is about, if a method has it."""
        columns = present(dict(summary), self.columns)  # type: ignore[arg-type]
        return next((c for c in columns if c.metric == self.headline), columns[0] if columns else None)


def write_page(folder: Path, page: Page) -> None:
    """Keep a page as report.json."""
    values = asdict(page)
    values["parts"] = [{"kind": type(part).__name__.lower(), **asdict(part)} for part in page.parts]
    write_sealed(folder / FILE, values)


def read_page(folder: Path, results: Mapping[str, Any]) -> Page:
    """The page of a run; of a run without report.json its table, with all figures.

    Raises:
        DataError: report.json is damaged.
    """
    if not (folder / FILE).exists():
        metrics = dict.fromkeys(name for method in results["summary"].values() for name in method)
        columns = [Column(name, name.replace("_", " "), scale=1.0, digits=3) for name in metrics]
        baseline = "none" if "none" in results["summary"] else None
        return Page(f"{results['task']}: {results['preset']}", columns, baseline=baseline)
    try:
        values = json.loads((folder / FILE).read_text(encoding="utf-8"))
        parts = [_part(one) for one in values.pop("parts")]
        columns = [Column(**one) for one in values.pop("columns")]
        return Page(columns=columns, parts=parts, **values)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"cannot read {folder / FILE}: {error}; `--resume` of the run writes it anew"
        ) from error


def _part(values: dict[str, Any]) -> Part:
    part: Part
    kind = values.pop("kind")
    if kind == "charts":
        part = Charts(charts=[_chart(one) for one in values.pop("charts")], **values)
    else:
        part = KINDS[kind](**values)
    return part


def _chart(values: dict[str, Any]) -> Chart:
    (kind,) = (kind for field, kind in CHARTS.items() if field in values)
    if kind is Lines:
        values["lines"] = [Line(**line) for line in values["lines"]]
    return kind(**values)
