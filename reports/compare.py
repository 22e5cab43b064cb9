"""Several runs beside each other: one table, what methods gain or lose over the seeds that two runs share,
and which settings differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..common import UserError
from .page import Page, Part, Table, Text
from .paired import NOTE, paired, rows_of
from .tables import Column, Run, present, summarize

BETWEEN = " · "
"""Between a run's name and a method's."""


def compare(
    names: Sequence[str], results: Sequence[Mapping[str, Any]], pages: Sequence[Page]
) -> tuple[Page, Any]:
    """The page of a comparison, and what stands in the place of results.json for it.

    Args:
        names: of the runs, each once.
        results: of each, as `read_results` gives them.
        pages: of each.

    Raises:
        ValueError: the runs have no metric in common.
    """
    columns = _shared_columns(results, pages)
    rows: list[Run] = []
    for name, one in zip(names, results, strict=True):
        for run in one["runs"]:
            renamed: Run = dict(run)  # type: ignore[assignment]
            rows.append({**renamed, "method": f"{name}{BETWEEN}{run['method']}"})
    headline = next((page.headline for page in pages if page.headline), None)
    parts: list[Part] = [*_differences(names, results, columns), *_settings(names, results)]
    told = "; ".join(f"`{name}`: {page.title}" for name, page in zip(names, pages, strict=True))
    page = Page(
        f"{len(names)} runs compared",
        columns,
        notes=f"{told}.",
        parts=parts,
        headline=headline,
    )
    return page, {"task": "comparison", "runs": rows, "summary": summarize(rows)}


def _shared_columns(results: Sequence[Mapping[str, Any]], pages: Sequence[Page]) -> list[Column]:
    known: dict[str, Column] = {}
    for page in reversed(pages):
        known |= {column.metric: column for column in page.columns}
    found = [{c.metric for c in present(one["summary"], list(known.values()))} for one in results]
    shared = [column for metric, column in known.items() if all(metric in metrics for metrics in found)]
    if not shared:
        tasks = ", ".join(dict.fromkeys(one["task"] for one in results))
        raise UserError(f"these runs have no metric in common (their tasks: {tasks})")
    order = [column.metric for page in pages for column in page.columns]
    return sorted(shared, key=lambda column: order.index(column.metric))


def _differences(
    names: Sequence[str], results: Sequence[Mapping[str, Any]], columns: Sequence[Column]
) -> Iterator[Part]:
    """Of every run after the first, against it: a row a method, the mean of the paired differences."""
    for name, one in zip(names[1:], results[1:], strict=True):
        found = {column: paired(results[0]["runs"], one["runs"], column.metric) for column in columns}
        rows = rows_of(found)
        heading = f"{name} less {names[0]}"
        if rows:
            headings = ["method", *(column.title for column in columns), "seeds"]
            yield Table(heading, headings, rows, note=f"Paired: {NOTE}.")
        else:
            yield Text(heading, "No method and seed is in both runs.")


def _settings(names: Sequence[str], results: Sequence[Mapping[str, Any]]) -> Iterator[Part]:
    """What the runs were made with, as far as it is not the same."""
    made = [
        {
            **flat(one.get("config", {})),
            **flat(one["environment"].get("packages", {}), "package "),
            "commit": (one["environment"].get("commit") or "")[:10],
            "hardware": _machine(one["environment"]),
        }
        for one in results
    ]
    settings = [name for name in dict.fromkeys(name for one in made for name in one) if name not in OWN]
    rows = [
        [name, *(str(one.get(name, "–")) for one in made)]
        for name in settings
        if len({str(one.get(name)) for one in made}) > 1
    ]
    if rows:
        yield Table("What differs", ["setting", *names], rows)
    else:
        yield Text("What differs", "Nothing: settings, versions and hardware are the same.")


OWN = ("output", "resume", "trackers", "reuse")
"""Settings that decide nothing of a result."""


def flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested settings by the names of their flags: `transfer.train.lr`."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{before}{name}.")
        else:
            found[before + str(name)] = value
    return found


def _machine(environment: Mapping[str, Any]) -> str:
    hardware = environment["hardware"]
    return ", ".join(hardware["gpus"]) or f"{hardware['cpu']}, {hardware['cores']} cores"


def short_names(folders: Sequence[Any]) -> list[str]:
    """The runs' folders by as many of their last parts as tell them apart.

    Raises:
        ValueError: one stands twice.
    """
    paths = [folder.resolve() for folder in folders]
    for path in paths:
        if paths.count(path) > 1:
            raise UserError(f"{path.name} stands twice")
    for count in range(1, 1 + max(len(path.parts) for path in paths)):
        names = ["/".join(path.parts[-count:]) for path in paths]
        if len(set(names)) == len(names):
            break
    return names
