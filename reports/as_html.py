"""A report as one HTML file that needs no other: styles, script and pictures are in it."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .as_markdown import confusion_cells, errors_in_words, legend, settings
from .page import Charts, Page
from .tables import Column, Summary, means_of
from .views import cell, summary_view

TEMPLATE = Path(__file__).resolve().parent / "template"
TASKS = {
    "crossmodal": "cross-modal transfer",
    "recognition": "cross-modal transfer",
    "compression": "compression",
    "ensemble": "ensemble distillation",
    "probe": "linear probes",
    "comparison": "comparison of runs",
}


def as_html(page: Page, results: Mapping[str, Any], folder: Path, strips: Charts | None = None) -> str:
    """report.html.

    Args:
        page: of the run.
        results: what results.json holds; `environment` and `config` may be absent.
        folder: with the `pictures/` of the parts.
        strips: the methods compared, above the table.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    from .drawing import COLORS, in_order, legend_of, svg

    environment = Environment(
        loader=FileSystemLoader(TEMPLATE), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    summary: Summary = results["summary"]
    order = list(summary)

    def drawn(charts: Charts, anchor: str) -> list[Markup]:
        names = in_order(charts.charts, order)
        return [Markup(svg(one, names, f"{anchor}-{n}")) for n, one in enumerate(charts.charts)]

    environment.filters.update(
        markdown=lambda text: Markup(_html_of(text, folder)),
        picture=lambda file: data_uri(folder / "pictures" / file),
        kind=lambda part: type(part).__name__.lower(),
        drawn=drawn,
        legend_of=lambda charts: legend_of(charts, order),
        confusion_cells=confusion_cells,
        errors_in_words=errors_in_words,
    )
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
        sections=sections,
        css=Markup((TEMPLATE / "report.css").read_text(encoding="utf-8")),
        js=Markup((TEMPLATE / "report.js").read_text(encoding="utf-8")),
        view=summary_view(summary, page.columns, baseline=page.baseline),
        colors={method: n % len(COLORS) for n, method in enumerate(order)},
        strips=strips,
        headline=None if main is None else headline(summary, main, page),
        legend=legend(page).replace("`", "").replace("in brackets", "beside it"),
        settings=settings(results["config"]) if "config" in results else "",
        environment=list(_environment(results["environment"])) if "environment" in results else [],
    )


def data_uri(path: Path) -> str:
    """A PNG within a page."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def headline(summary: Summary, column: Column, page: Page) -> dict[str, Any] | None:
    """The best method's figure, other than the baseline's if there are others, and its difference."""
    means = means_of(summary, column)
    others = {method: mean for method, mean in means.items() if method != page.baseline} or means
    if not others:
        return None
    method = (min if column.lower else max)(others, key=others.__getitem__)
    n = summary[method][column.metric]["n"]
    return {
        "cell": cell(summary, method, column, page.baseline),
        "title": page.headline_title or column.title,
        "method": method,
        "runs": f"the best of {len(means)} methods; {n} seed{'s' * (n > 1)}",
    }


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
