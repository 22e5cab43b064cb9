"""What a run leaves for people: ``report.html`` and ``report.md``, of ``results.json`` and ``report.json``.

write_results(folder, task="crossmodal", preset="nyu", runs=runs, environment=environment())
write_report(folder, Page("RGB to depth", columns, baseline="none", parts=[…]))
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ..common import write_text
from .as_html import as_html
from .as_markdown import as_markdown
from .charts import strip_of
from .page import Charts, Page, write_page
from .results import read_results
from .tables import last_epoch, present

PICTURES = "pictures"


def write_report(folder: Path | str, page: Page) -> Path:
    """Write report.json, report.html and report.md of a run, of which `folder` holds results.json and the
    pictures of its parts. Returns the path of report.html."""
    write_page(Path(folder), page)
    return render(Path(folder), page, read_results(Path(folder)))


def render(folder: Path, page: Page, results: dict[str, Any], *, output: Path | None = None) -> Path:
    """Draw the charts of a page and write report.md and report.html; returns the path of the latter.

    Args:
        folder: with the pictures of the page.
        page: of the run, or of a comparison.
        results: what results.json holds.
        output: where the files go if not there; the other pictures are copied to it.
    """
    from .canvas import save
    from .drawing import draw

    place = folder if output is None else output
    if place != folder and (folder / PICTURES).is_dir():
        shutil.copytree(folder / PICTURES, place / PICTURES, dirs_exist_ok=True)
    strips = compared(page, results)
    for part in (strips, *page.parts):
        if isinstance(part, Charts):
            save(draw(part.charts, list(results["summary"])), place / PICTURES / part.file)
    write_text(place / "report.md", as_markdown(page, results, strips))
    write_text(place / "report.html", as_html(page, results, folder, strips))
    return place / "report.html"


def compared(page: Page, results: dict[str, Any]) -> Charts | None:
    """Every run of every method, by the headline's metric and the first other one of the last epoch; None
    without a metric."""
    summary, runs = results["summary"], results["runs"]
    columns = [page.main_column(summary), *last_epoch(present(summary, page.columns))]
    shown = list(dict.fromkeys(column for column in columns if column is not None))[:2]
    charts = [strip for column in shown if (strip := strip_of(runs, column)) is not None]
    note = "A dot for each run, a bar at their mean." if len(runs) > len(summary) else ""
    return Charts("Methods compared", charts, "methods.png", note) if charts else None
