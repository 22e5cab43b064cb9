"""A report as Markdown, with its pictures beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .page import Confusion, Curves, Page, Part, Picture, Predictions, Scatter, Table, Text
from .plot import most_confused
from .tables import markdown_table
from .words import environment_line


def as_markdown(page: Page, results: Mapping[str, Any], folder: Path) -> str:
    """report.md: the table, every part, the command, the configuration, the environment."""
    said = [f"# {page.title}\n"]
    if page.notes:
        said.append(page.notes.strip() + "\n")
    table = markdown_table(results["summary"], page.columns, baseline=page.baseline)
    said.append(f"## Results\n\n{table}\n{legend(page)}\n")
    if (folder / "pictures" / "methods.png").exists():
        said.append("![Methods compared](pictures/methods.png)\n")
    said += [f"## {part.heading}\n\n{_text(part).strip()}\n" for part in page.parts]
    if page.command:
        said.append(f"## Repeat it\n\n```sh\n{page.command}\n```\n")
    if "config" in results:
        said.append(f"## Configuration\n\n```yaml\n{settings(results['config'])}```\n")
    if "environment" in results:
        said.append(f"## Environment\n\n{environment_line(results['environment'])}\n")
    return "\n".join(said)


def legend(page: Page) -> str:
    """What the table's figures mean."""
    text = "Mean ± sample standard deviation over n seeds"
    return text + (f"; in brackets the difference from `{page.baseline}`." if page.baseline else ".")


def settings(config: Any) -> str:
    """A configuration as YAML."""
    import yaml

    return str(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))


def _text(part: Part) -> str:
    match part:
        case Text():
            return part.markdown
        case Picture():
            return _picture(part.heading, part.file)
        case Curves():
            return f"{_picture(part.heading, part.file)}\n\n{part.note}"
        case Table():
            return f"{plain_table(part.columns, part.rows, part.digits)}\n{part.note}"
        case Predictions():
            shown = ", ".join((*part.inputs, "truth", *part.methods))
            return f"{_picture(shown, part.file)}\n\n{part.note}"
        case Confusion():
            rows = [
                (
                    method,
                    "; ".join(
                        f"{a} taken for {b} {x:.0f} %" for a, b, x in most_confused(counts, part.classes)
                    ),
                )
                for method, counts in part.counts.items()
            ]
            return plain_table(("method", "most frequent errors, of the true class"), rows, 0)
        case Scatter():
            shown = "\n".join(_picture(method, file) for method, file in part.files.items())
            return f"{shown}\n\n{part.note}"


def _errors(counts: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    return "; ".join(f"{a} taken for {b} {x:.0f} %" for a, b, x in most_confused(counts, classes))


def _picture(words: str, file: str) -> str:
    return f"![{words}](pictures/{file})"


def plain_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], digits: int = 1) -> str:
    """Headings, and rows of text and numbers."""
    lines = [f"| {' | '.join(columns)} |", "|---|" + "---:|" * (len(columns) - 1)]
    lines += [f"| {' | '.join(figure(cell, digits) for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def figure(cell: Any, digits: int) -> str:
    """A cell as it is shown: whole numbers with thousands apart, others with so many digits."""
    if cell is None:
        return "–"
    if isinstance(cell, float):
        return f"{cell:,.{digits}f}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)
