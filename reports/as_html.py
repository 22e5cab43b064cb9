"""A report as one HTML file that needs no other: styles, script and pictures are in it."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import plot
from .as_markdown import figure, legend, settings
from .page import Page
from .tables import Column, Statistic, Summary, present

TEMPLATE = Path(__file__).resolve().parent / "template"
TASKS = {
    "crossmodal": "cross-modal transfer",
    "recognition": "cross-modal transfer",
    "compression": "compression",
    "ensemble": "ensemble distillation",
    "probe": "linear probes",
    "comparison": "comparison of runs",
}
SMALLEST = 0.5
"""A difference within so many deviations is not colored."""


def as_html(page: Page, results: Mapping[str, Any], folder: Path) -> str:
    """report.html.

    Args:
        results: what results.json holds; `environment` and `config` may be absent.
        folder: with the `pictures/` of the parts.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(TEMPLATE), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    summary: Summary = results["summary"]
    order = list(summary)
    environment.filters.update(
        markdown=lambda text: Markup(_html_of(text, folder)),
        picture=lambda file: data_uri(folder / "pictures" / file),
        kind=lambda part: type(part).__name__.lower(),
        lines_of=plot.lines_of,
        points_of=plot.points_of,
        color_of=plot.color_of,
        lines_in=_lines_in,
        confusion_cells=plot.confusion_cells,
        most_confused=plot.most_confused,
        class_color=_class_color,
        figure=figure,
        after=lambda names, order: list(dict.fromkeys((*order, *names))),
    )
    columns = present(summary, page.columns)
    main = page.main_column(summary)
    parts = [(_anchor(part.heading), part) for part in page.parts]
    sections = [("results", "Results"), *((id, part.heading) for id, part in parts)]
    sections += [("repeat", "Repeat it")] * bool(page.command)
    sections += [("settings", "Settings")] * ("config" in results)
    sections += [("environment", "Environment")] * ("environment" in results)
    return environment.get_template("report.html.jinja").render(
        page=page,
        kind=TASKS.get(results["task"], results["task"]),
        parts=parts,
        order=order,
        sections=sections,
        css=Markup((TEMPLATE / "report.css").read_text(encoding="utf-8")),
        js=Markup((TEMPLATE / "report.js").read_text(encoding="utf-8")),
        columns=[{"title": column.title, "folded": is_best_epoch(column)} for column in columns],
        folded=any(map(is_best_epoch, columns)),
        rows=_rows(summary, columns, page.baseline, order),
        headline=None if main is None else headline(summary, main, page),
        chart=None if main is None else plot.strip_of(results["runs"], main, order),
        legend=legend(page).replace("`", "").replace("in brackets", "beside it"),
        settings=settings(results["config"]) if "config" in results else "",
        environment=list(_environment(results["environment"])) if "environment" in results else [],
    )


def data_uri(path: Path) -> str:
    """A PNG within a page."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def is_best_epoch(column: Column) -> bool:
    """Whether a column tells of the best epoch, which was chosen by the test data."""
    return re.search(r"(^|_)best_", column.metric) is not None


def headline(summary: Summary, column: Column, page: Page) -> dict[str, str] | None:
    """The best method's figure, other than the baseline's if there are others, and its difference."""
    means = {
        method: metrics[column.metric]["mean"]
        for method, metrics in summary.items()
        if column.metric in metrics
    }
    others = {method: mean for method, mean in means.items() if method != page.baseline} or means
    if not others:
        return None
    method = (min if column.lower else max)(others, key=others.__getitem__)
    statistic = summary[method][column.metric]
    seeds = f"{statistic['n']} seed" + "s" * (statistic["n"] > 1)
    difference = _difference(summary, method, column, page.baseline)
    return {
        "value": f"{statistic['mean'] * column.scale:.{column.digits}f}",
        "title": page.headline_title or column.title,
        "method": method,
        "spread": _spread(statistic, column),
        "runs": f"the best of {len(means)} methods; {seeds}",
        "difference": difference[0],
        "sense": difference[1],
    }


def _rows(
    summary: Summary, columns: Sequence[Column], baseline: str | None, order: Sequence[str]
) -> list[dict[str, Any]]:
    best = {}
    for column in columns:
        means = {
            m: metrics[column.metric]["mean"] for m, metrics in summary.items() if column.metric in metrics
        }
        best[column.metric] = (min if column.lower else max)(means, key=means.__getitem__)
    rows = []
    for method, metrics in summary.items():
        cells = []
        for column in columns:
            statistic = metrics.get(column.metric)
            cell: dict[str, Any] = {
                "folded": is_best_epoch(column),
                "value": None,
                "text": "–",
                "spread": "",
                "difference": "",
                "sense": "",
                "best": len(summary) > 1 and best[column.metric] == method,
            }
            if statistic is not None:
                cell["value"] = statistic["mean"]
                cell["text"] = f"{statistic['mean'] * column.scale:.{column.digits}f}"
                cell["spread"] = _spread(statistic, column)
                cell["difference"], cell["sense"] = _difference(summary, method, column, baseline)
            cells.append(cell)
        n = max((statistic["n"] for statistic in metrics.values()), default=0)
        rows.append({"method": method, "cells": cells, "n": n, "color": plot.color_of(method, order)})
    return rows


def _spread(statistic: Statistic, column: Column) -> str:
    return "" if statistic["std"] is None else f"{statistic['std'] * column.scale:.{column.digits}f}"


def _difference(summary: Summary, method: str, column: Column, baseline: str | None) -> tuple[str, str]:
    """In words, and whether it is `good`, `bad` or within the deviations."""
    own, reference = summary[method][column.metric], summary.get(baseline or "", {}).get(column.metric)
    if reference is None or method == baseline:
        return "", ""
    difference = own["mean"] - reference["mean"]
    text = f"{difference * column.scale:+.{column.digits}f}".replace("-", "−")
    within = abs(difference) <= SMALLEST * ((own["std"] or 0.0) + (reference["std"] or 0.0))
    if within or float(f"{abs(difference) * column.scale:.{column.digits}f}") == 0:
        return text, ""
    return text, "good" if (difference > 0) != column.lower else "bad"


def _html_of(text: str, folder: Path) -> str:
    """Markdown with tables as HTML, its pictures within."""
    from markdown_it import MarkdownIt

    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    html = re.sub(
        r'<img src="(pictures/[^"]+)"',
        lambda match: f'<img class="paper" src="{data_uri(folder / match[1])}"',
        html,
    )
    return html.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")


def _anchor(heading: str) -> str:
    return "part-" + re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")


def _lines_in(charts: Sequence[Any]) -> list[str]:
    """The names of the lines of some charts, each once."""
    return list(dict.fromkeys(line.name for chart in charts for line in chart.lines if line.x))


def _class_color(label: int) -> str:
    from .canvas import palette

    red, green, blue = palette(label + 1)[label].tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"


def _environment(environment: Mapping[str, Any]) -> Any:
    hardware, packages = environment["hardware"], environment["packages"]
    yield "date", environment["date"][:10]
    commit = environment["commit"]
    if commit is not None:
        yield "commit", commit[:10] + (" with local changes" if environment["dirty"] else "")
    if hardware["gpus"]:
        yield "GPU", ", ".join(hardware["gpus"])
    yield "processor", f"{hardware['cpu']}, {hardware['cores']} cores"
    if "memory_gib" in hardware:
        yield "memory", f"{hardware['memory_gib']} GiB"
    yield "system", f"{environment.get('platform', '')} Python {environment['python']}".strip()
    yield "packages", ", ".join(f"{name} {version}" for name, version in packages.items() if version)
