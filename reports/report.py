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
from .page import Page, write_page
from .results import read_results
from .tables import present

PICTURES = "pictures"


def write_report(folder: Path | str, page: Page) -> Path:
    """Write the page of a run, of which `folder` holds results.json and the pictures of its parts:
    report.json, report.html, report.md and the bars of its first two columns. Returns report.html's path."""
    from .charts import bar_chart

    folder = Path(folder)
    results = read_results(folder)
    columns = present(results["summary"], page.columns)[:2]
    if columns:
        bar_chart(folder / PICTURES / "methods.png", results["summary"], columns, baseline=page.baseline)
    write_page(folder, page)
    return render(folder, page, results)


def render(folder: Path, page: Page, results: dict[str, Any], *, output: Path | None = None) -> Path:
    """Write report.md and report.html; returns the path of the latter.

    Args:
        folder: with the pictures.
        output: where the two go if not there; the Markdown's pictures are copied to it.
    """
    place = folder if output is None else output
    if place != folder and (folder / PICTURES).is_dir():
        shutil.copytree(folder / PICTURES, place / PICTURES, dirs_exist_ok=True)
    write_text(place / "report.md", as_markdown(page, results, folder))
    write_text(place / "report.html", as_html(page, results, folder))
    return place / "report.html"
