"""What a run leaves for people: ``results.json``, tables with mean ± std, ``report.md`` with pictures.

path = write_results(folder, task="crossmodal", preset="nyu", runs=runs, environment=environment())
console.print(terminal_table(summarize(runs), COLUMNS, baseline="none"))
write_report(folder, COLUMNS, title="RGB to depth", baseline="none", histories=histories)
"""

import dataclasses
import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

if TYPE_CHECKING:
    from rich.table import Table

    from .pictures import History, PanelRow


class Run(TypedDict):
    """One method trained with one seed. Metrics that are lists (per-class figures) are not summarized."""

    method: str
    seed: int
    metrics: dict[str, Any]
    draw: NotRequired[int]
    """Of the teachers from a pool."""


class Statistic(TypedDict):
    """Mean and sample standard deviation (n − 1 in the denominator; None for one run) over ``n`` seeds."""

    mean: float
    std: float | None
    n: int


Summary = dict[str, dict[str, Statistic]]


@dataclass(frozen=True)
class Column:
    """A metric as a table shows it."""

    metric: str
    """Key in the runs' metrics."""
    title: str
    """Heading."""
    scale: float = 100.0
    """Factor from the stored value to the shown one; 100 shows a fraction in percent."""
    digits: int = 1
    """Decimals."""
    lower: bool = False
    """Whether less is better."""


SEGMENTATION_COLUMNS = (
    Column("pixel_accuracy", "pixel accuracy"),
    Column("mean_iou", "mean IoU"),
    Column("best_pixel_accuracy", "best pixel accuracy"),
    Column("best_mean_iou", "best mean IoU"),
)

CLASSIFICATION_COLUMNS = (
    Column("top1", "top-1", digits=2),
    Column("best_top1", "best top-1", digits=2),
    Column("top5", "top-5", digits=2),
    Column("agreement", "agreement with teacher"),
    Column("divergence", "KL from teacher", scale=1.0, digits=3, lower=True),
    Column("correlation_difference", "correlation difference", scale=1.0, digits=3, lower=True),
)


def classification_columns(summary: "Summary") -> list[Column]:
    """`CLASSIFICATION_COLUMNS`, and one for each other set of images that a linear probe judged."""
    probes = dict.fromkeys(n for method in summary.values() for n in method if n.startswith("probe_"))
    named = (Column(name, f"probe: {name.removeprefix('probe_')}", digits=2) for name in probes)
    return [*CLASSIFICATION_COLUMNS, *named]


def teacher_figures(teacher: Mapping[str, float]) -> str:
    """A teacher's accuracies in words, percent."""
    return ", ".join(f"{name.replace('_', ' ')} {100 * value:.2f}" for name, value in teacher.items())


def ensemble_columns(teachers: Sequence[int]) -> list[Column]:
    """The error of the last epoch for each number of teachers, then that of the best."""
    return [
        Column(
            f"{kind}error_{n}", f"{kind.rstrip('_')} {n} teacher{'s' * (n > 1)}".strip(), digits=2, lower=True
        )
        for kind in ("", "best_")
        for n in teachers
    ]


def pool_figures(pool: Mapping[str, Any]) -> str:
    """A pool of teachers in words: its members, and the errors of the ensembles that taught, percent."""
    accuracies = [100 * member["top1"] for member in pool["members"]]
    errors = [100 * member["calibration_error"] for member in pool["members"]]
    count, together = len(accuracies), pool["ensemble"]
    apart = 100 * sum(map(sum, pool["disagreement"])) / max(count * (count - 1), 1)
    taught = ", ".join(
        f"{n}: {100 * statistics.fmean(values):.2f}" for n, values in pool["ensembles"].items()
    )
    return (
        f"{count} members: top-1 {statistics.fmean(accuracies):.2f} on average ({min(accuracies):.2f} to "
        f"{max(accuracies):.2f}), calibration error {statistics.fmean(errors):.1f}; two of them disagree on "
        f"{apart:.1f} % of the images. All together: top-1 {100 * together['top1']:.2f}, calibration error "
        f"{100 * together['calibration_error']:.1f}. Error of the ensembles that taught, by size: {taught}."
    )


def summarize(runs: Iterable[Run]) -> Summary:
    """Mean, sample std and n of every scalar metric of every method, methods in order of appearance.

    Raises:
        ValueError: a method has the same seed twice, or a metric is not finite.
    """
    seeds: dict[str, set[tuple[int, int | None]]] = {}
    values: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        method, seed = run["method"], run["seed"]
        if (seed, run.get("draw")) in seeds.setdefault(method, set()):
            raise ValueError(f"method {method!r} has two runs with seed {seed}")
        seeds[method].add((seed, run.get("draw")))
        metrics = values.setdefault(method, {})
        for name, value in run["metrics"].items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if not math.isfinite(value):
                raise ValueError(f"{name} of method {method!r}, seed {seed}, is {value}")
            metrics.setdefault(name, []).append(float(value))
    return {
        method: {
            name: {
                "mean": statistics.fmean(series),
                "std": statistics.stdev(series) if len(series) > 1 else None,
                "n": len(series),
            }
            for name, series in metrics.items()
        }
        for method, metrics in values.items()
    }


def write_results(
    folder: Path | str,
    *,
    task: str,
    preset: str,
    runs: Sequence[Run],
    environment: Mapping[str, Any],
    config: Any = None,
    teacher: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``folder/results.json`` whole or not at all, and return its path.

    Keys: ``task``, ``preset``, ``runs``, ``summary`` (see `summarize`), ``environment``, and where given
    ``teacher``, its metrics, and ``config``, a mapping or a dataclass. Of a path in the config only the last
    part is kept: where the data lay on this machine is no part of the result. A NaN within a list (the IoU
    of an absent class) becomes null.
    """
    results = {
        "task": task,
        "preset": preset,
        "runs": _plain(list(runs)),
        "summary": summarize(runs),
        "environment": _plain(environment),
    }
    if teacher is not None:
        results["teacher"] = _plain(teacher)
    if config is not None:
        results["config"] = _without_places(_plain(config))
    return _write(Path(folder) / "results.json", json.dumps(results, indent=2, allow_nan=False) + "\n")


def markdown_table(
    summary: Summary,
    columns: Sequence[Column],
    *,
    baseline: str | None = None,
    extra: Mapping[str, Mapping[str, str]] | None = None,
) -> str:
    """The summary as a Markdown table, a method per row: mean ± std over seeds, the best mean in bold.

    With ``baseline`` (a method) every other row also shows its difference from that method's mean.
    ``extra`` adds columns of text: heading → method → cell.
    """
    columns = _present(summary, columns)
    extra = extra or {}
    best = {column.metric: _best(summary, column) for column in columns}
    headings = [*(column.title for column in columns), *extra, "n"]
    lines = [f"| method | {' | '.join(headings)} |", "|---|" + "---:|" * len(headings)]
    for method in summary:
        cells = []
        for column in columns:
            cell = _cell(summary, method, column, baseline)
            cells.append(f"**{cell}**" if method == best[column.metric] else cell)
        cells += [cell_of.get(method, "–") for cell_of in extra.values()]
        lines.append(f"| {method} | {' | '.join([*cells, str(_seeds(summary, method))])} |")
    return "\n".join(lines) + "\n"


def terminal_table(
    summary: Summary, columns: Sequence[Column], *, baseline: str | None = None, title: str | None = None
) -> "Table":
    """The same table for a terminal (``rich.console.Console().print(table)``).

    One of more than six metrics leaves the differences from ``baseline`` to the report: a terminal of 80
    characters would cut them.
    """
    from rich.table import Table

    columns = _present(summary, columns)
    baseline = baseline if len(columns) <= 6 else None
    table = Table(title=title)
    table.add_column("method", no_wrap=True)
    for column in columns:
        table.add_column(column.title, justify="right", overflow="fold")
    table.add_column("n", justify="right")
    best = {column.metric: _best(summary, column) for column in columns}
    for method in summary:
        cells = []
        for column in columns:
            cell = _cell(summary, method, column, baseline)
            cells.append(f"[bold]{cell}[/bold]" if method == best[column.metric] else cell)
        table.add_row(method, *cells, str(_seeds(summary, method)))
    return table


def write_report(
    folder: Path | str,
    columns: Sequence[Column],
    *,
    title: str,
    baseline: str | None = None,
    histories: "Mapping[str, Sequence[History]] | None" = None,
    curves: Sequence[Column] = (),
    panel: "Sequence[PanelRow]" = (),
    class_names: Sequence[str] | None = None,
    drawn: Mapping[str, str] | None = None,
    notes: str = "",
) -> Path:
    """Write ``folder/report.md`` and its ``pictures/`` from ``folder/results.json``; return its path.

    Args:
        columns: metrics of the table; each of the first two is also drawn as a bar chart.
        histories: for each method the training history of every seed, drawn as learning curves of the
            metrics in ``curves``.
        panel: samples to show as a picture each: RGB, depth, truth and predictions side by side.
        class_names: for the panel's legend.
        drawn: further pictures that the caller has put into ``pictures/``: heading → file name.
        notes: Markdown placed under the title.
    """
    from . import pictures

    folder = Path(folder)
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    summary: Summary = results["summary"]
    parts = [f"# {title}\n"]
    if notes:
        parts.append(notes.strip() + "\n")
    parts.append(f"## Results\n\n{markdown_table(summary, columns, baseline=baseline)}\n{_legend(baseline)}")

    charts = folder / "pictures"
    pictures.bar_chart(charts / "methods.png", summary, _present(summary, columns)[:2], baseline=baseline)
    parts.append("![Methods compared](pictures/methods.png)\n")
    if panel:
        pictures.segmentation_panel(charts / "predictions.png", panel, class_names=class_names)
        parts.append("## Predictions\n\n![RGB, depth, truth, predictions](pictures/predictions.png)\n")
    if histories and curves:
        pictures.learning_curves(charts / "curves.png", histories, curves)
        parts.append("## Learning curves\n\n![Learning curves](pictures/curves.png)\n")

    parts += [f"## {heading}\n\n![{heading}](pictures/{name})\n" for heading, name in (drawn or {}).items()]

    if "config" in results:
        import yaml

        listing = yaml.safe_dump(results["config"], sort_keys=False, allow_unicode=True)
        parts.append(f"## Configuration\n\n```yaml\n{listing}```\n")
    parts.append(f"## Environment\n\n{environment_line(results['environment'])}\n")
    return _write(folder / "report.md", "\n".join(parts))


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


def _legend(baseline: str | None) -> str:
    legend = "Mean ± sample standard deviation over n seeds"
    return legend + (f"; in brackets the difference from `{baseline}`.\n" if baseline else ".\n")


def _present(summary: Summary, columns: Sequence[Column]) -> list[Column]:
    """The columns that at least one method has."""
    return [column for column in columns if any(column.metric in metrics for metrics in summary.values())]


def _best(summary: Summary, column: Column) -> str | None:
    means = {
        method: metrics[column.metric]["mean"]
        for method, metrics in summary.items()
        if column.metric in metrics
    }
    return (min if column.lower else max)(means, key=means.__getitem__) if len(means) > 1 else None


def _seeds(summary: Summary, method: str) -> int:
    return max((statistic["n"] for statistic in summary[method].values()), default=0)


def _cell(summary: Summary, method: str, column: Column, baseline: str | None) -> str:
    statistic = summary[method].get(column.metric)
    if statistic is None:
        return "–"
    text = f"{statistic['mean'] * column.scale:.{column.digits}f}"
    if statistic["std"] is not None:
        text += f" ± {statistic['std'] * column.scale:.{column.digits}f}"
    reference = summary.get(baseline or "", {}).get(column.metric)
    if reference is not None and method != baseline:
        text += f" ({(statistic['mean'] - reference['mean']) * column.scale:+.{column.digits}f})"
    return text


def _plain(value: Any) -> Any:
    """Dataclasses, mappings, arrays, tensors, paths as what JSON has; a NaN in a list becomes None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        items = [_plain(item) for item in value]
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


def _write(path: Path, text: str) -> Path:
    # Here, so that tables can be made without torch.
    from ..engine.files import write_text

    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    return path
