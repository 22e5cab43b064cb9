"""What a run leaves for people: ``results.json``, and ``report.md`` with its pictures.

write_results(folder, task="crossmodal", preset="nyu", runs=runs, environment=environment())
write_report(folder, columns, title="RGB to depth", baseline="none", histories=histories)
"""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from ..common import write_text
from .tables import Column, Run, Summary, markdown_table, present, summarize

if TYPE_CHECKING:
    from .charts import History
    from .pictures import PanelRow


class Page(TypedDict, total=False):
    """What a report says besides its table, its configuration and its environment."""

    title: str
    notes: str
    """Markdown placed under the title."""
    sections: Mapping[str, str]
    """Further tables, after that of the results: heading → Markdown."""
    curves: Sequence[Column]
    """Metrics of the learning curves."""
    panel: "Sequence[PanelRow]"
    """Samples to show as a picture each: RGB, depth, truth and predictions side by side."""
    class_names: Sequence[str] | None
    """For the panel's legend."""
    drawn: Mapping[str, str]
    """Further pictures that the caller has put into `pictures/`: heading → file name."""


def write_results(
    folder: Path | str,
    *,
    task: str,
    preset: str,
    runs: Sequence[Run],
    environment: Mapping[str, Any],
    config: Any = None,
    teacher: Any = None,
) -> Path:
    """Write ``folder/results.json`` whole or not at all, and return its path.

    Keys: ``task``, ``preset``, ``runs``, ``summary`` (see `summarize`), ``environment``, and if given
    ``teacher``, its metrics (a list of them for several teachers), and ``config``, a mapping or a dataclass.
    Of a path in the config only the last part is kept: where the data lay on this machine is no part of the
    result. A NaN within a list (the IoU of an absent class) becomes null.
    """
    results = {
        "task": task,
        "preset": preset,
        "runs": _json(list(runs)),
        "summary": summarize(runs),
        "environment": _json(environment),
    }
    if teacher:
        one = isinstance(teacher, Sequence) and len(teacher) == 1
        results["teacher"] = _json(teacher[0] if one else teacher)
    if config is not None:
        results["config"] = as_written(config)
    path = Path(folder) / "results.json"
    write_text(path, json.dumps(results, indent=2, allow_nan=False) + "\n")
    return path


def write_report(
    folder: Path | str,
    columns: Sequence[Column],
    *,
    baseline: str | None = None,
    histories: "Mapping[str, Sequence[History]] | None" = None,
    **page: Unpack[Page],
) -> Path:
    """Write ``folder/report.md`` and its ``pictures/`` from ``folder/results.json``; return its path.

    Args:
        columns: metrics of the table; each of the first two is also drawn as a bar chart.
        baseline: the method that the others are compared with.
        histories: for each method the training history of every seed, drawn as learning curves.
        page: title and the parts that a task adds, as in `Page`.
    """
    from . import charts, pictures

    folder = Path(folder)
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    summary: Summary = results["summary"]
    parts = [f"# {page['title']}\n"]
    if notes := page.get("notes"):
        parts.append(notes.strip() + "\n")
    legend = "Mean ± sample standard deviation over n seeds"
    legend += f"; in brackets the difference from `{baseline}`." if baseline else "."
    parts.append(f"## Results\n\n{markdown_table(summary, columns, baseline=baseline)}\n{legend}\n")

    drawn = folder / "pictures"
    charts.bar_chart(drawn / "methods.png", summary, present(summary, columns)[:2], baseline=baseline)
    parts.append("![Methods compared](pictures/methods.png)\n")
    parts += [f"## {heading}\n\n{text.strip()}\n" for heading, text in page.get("sections", {}).items()]
    if panel := page.get("panel"):
        pictures.segmentation_panel(drawn / "predictions.png", panel, class_names=page.get("class_names"))
        parts.append("## Predictions\n\n![RGB, depth, truth, predictions](pictures/predictions.png)\n")
    if histories and (curves := page.get("curves")):
        charts.learning_curves(drawn / "curves.png", histories, curves)
        parts.append("## Learning curves\n\n![Learning curves](pictures/curves.png)\n")
    others = page.get("drawn", {}).items()
    parts += [f"## {heading}\n\n![{heading}](pictures/{name})\n" for heading, name in others]

    if "config" in results:
        import yaml

        listing = yaml.safe_dump(results["config"], sort_keys=False, allow_unicode=True)
        parts.append(f"## Configuration\n\n```yaml\n{listing}```\n")
    parts.append(f"## Environment\n\n{environment_line(results['environment'])}\n")
    write_text(folder / "report.md", "\n".join(parts))
    return folder / "report.md"


def environment_line(environment: Mapping[str, Any]) -> str:
    """One sentence of provenance: hardware, versions, commit, date."""
    hardware = environment["hardware"]
    cores = "1 core" if hardware["cores"] == 1 else f"{hardware['cores']} cores"
    machine = ", ".join(hardware["gpus"]) or f"{cores} of {hardware['cpu']}"
    packages = environment["packages"]
    commit = environment["commit"]
    revision = "no commit known" if commit is None else f"commit {commit[:10]}"
    if environment["dirty"]:
        revision += " with local changes"
    return (
        f"{machine}; Python {environment['python']}, torch {packages['torch']}, crdkit {packages['crdkit']}; "
        f"{revision}; {environment['date'][:10]}."
    )


def teacher_figures(teachers: Mapping[str, float] | Sequence[Mapping[str, float]]) -> str:
    """The accuracies of a teacher, or of several, in words, percent."""
    several = [teachers] if isinstance(teachers, Mapping) else teachers
    figures = (", ".join(f"{name.replace('_', ' ')} {100 * x:.2f}" for name, x in t.items()) for t in several)
    return "; ".join(figures)


def listed(names: Iterable[str]) -> str:
    """`rgb and depth`: names in words, each once."""
    return " and ".join(dict.fromkeys(names))


def as_written(config: Any) -> Any:
    """A configuration as results.json has it."""
    return _without_places(_json(config))


def _json(value: Any) -> Any:
    """Dataclasses, mappings, arrays, tensors, paths as what JSON has; a NaN in a list becomes None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return {str(key): _json(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        items = [_json(item) for item in value]
        return [None if isinstance(item, float) and math.isnan(item) else item for item in items]
    return str(value) if isinstance(value, Path) else value


def _without_places(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_places(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_places(item) for item in value]
    if isinstance(value, str) and value.startswith(("/", "./", "../", "~")):
        return Path(value).name
    return value
