"""A report as Markdown, with its pictures beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .page import Charts, Confusion, Page, Part, Picture, Predictions, Table, Text
from .views import rows_view, summary_view
from .words import environment_line


def as_markdown(page: Page, results: Mapping[str, Any], strips: Charts | None = None) -> str:
    """report.md: the table, every part, the command, the configuration, the environment.

    Args:
        page: of the run.
        results: what results.json holds; `environment` and `config` may be absent.
        strips: the methods compared, below the table.
    """
    text = [f"# {page.title}\n"]
    if page.notes:
        text.append(page.notes.strip() + "\n")
    table = summary_view(results["summary"], page.columns, baseline=page.baseline).markdown()
    text.append(f"## Results\n\n{table}\n{legend(page)}\n")
    text += [f"{_picture(strips.heading, strips.file)}\n"] if strips else []
    text += [f"## {part.heading}\n\n{_text(part).strip()}\n" for part in page.parts]
    if page.command:
        text.append(f"## Repeat it\n\n```sh\n{page.command}\n```\n")
    if "config" in results:
        text.append(f"## Configuration\n\n```yaml\n{settings(results['config'])}```\n")
    if "environment" in results:
        text.append(f"## Environment\n\n{environment_line(results['environment'])}\n")
    return "\n".join(text)


def legend(page: Page) -> str:
    """What the table's figures mean."""
    text = "Mean ± sample standard deviation over n seeds"
    return text + (f"; in brackets the difference from `{page.baseline}`." if page.baseline else ".")


def settings(config: Any) -> str:
    """A configuration as YAML."""
    import yaml

    return str(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))


def confusion_cells(counts: Sequence[Sequence[int]]) -> list[list[float | None]]:
    """Each row in percent of its sum; None in a row without a sample."""
    return [[100 * n / total if total else None for n in row] for row in counts for total in [sum(row)]]


def most_confused(
    counts: Sequence[Sequence[int]], classes: Sequence[str], *, most: int = 8
) -> list[tuple[str, str, float]]:
    """True class, predicted class, percent of the true one: the most frequent errors."""
    cells = confusion_cells(counts)
    errors = [
        (classes[i], classes[j], value)
        for i, row in enumerate(cells)
        for j, value in enumerate(row)
        if i != j and value
    ]
    return sorted(errors, key=lambda error: -error[2])[:most]


def errors_in_words(counts: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    """The most frequent errors as one line."""
    return "; ".join(f"{a} taken for {b} {x:.0f} %" for a, b, x in most_confused(counts, classes))


def _text(part: Part) -> str:
    match part:
        case Text():
            return part.markdown
        case Picture():
            return _picture(part.heading, part.file)
        case Charts():
            return f"{_picture(part.heading, part.file)}\n\n{part.note}"
        case Table():
            return f"{part.view.markdown()}\n{part.note}"
        case Predictions():
            shown = ", ".join((*part.inputs, "truth", *part.methods))
            return f"{_picture(shown, part.file)}\n\n{part.note}"
        case Confusion():
            rows = [(method, errors_in_words(n, part.classes)) for method, n in part.counts.items()]
            return rows_view(("method", "most frequent errors, of the true class"), rows).markdown()


def _picture(words: str, file: str) -> str:
    return f"![{words}](pictures/{file})"
