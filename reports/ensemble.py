"""The report of an ensemble run."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .charts import Line, Lines, line_of
from .cost import cost_table
from .judged import confusion, learning_curves
from .outcome import Outcome, TaskReport
from .page import Charts, Page, Part, Picture, Text
from .tables import Column, Run, Summary
from .views import TableView, rows_view, summary_view
from .words import listed

if TYPE_CHECKING:
    from ..pipelines import RunResult


DISPUTED = (Column("corrected", "right where corrected"), Column("overruled", "right where overruled"))
"""What `right_where_disputed` finds."""
FOLLOWED = (Column("agreement", "agreement with its teachers"), *DISPUTED)
"""What a row of results.json has, besides errors, for each number of teachers."""


def name_of(done: RunResult) -> str:
    """Method and number of teachers."""
    return _named(done.method, len(done.teachers))


def _named(method: str, teachers: int) -> str:
    return f"{method}, {teachers_in_words(teachers)}" if teachers else method


def in_words(done: RunResult) -> str:
    """A run's error, for a line of the terminal."""
    return f"error {100 * (1 - done.metrics['top1']):.2f}"


def columns_of(teachers: Sequence[int]) -> list[Column]:
    """The error of the last epoch for each number of teachers, then that of the best; likewise of averaged
    weights, if there are any."""
    kinds = {"": "", "best_": "best ", "ema_": "EMA ", "best_ema_": "best EMA "}
    return [
        Column(f"{kind}error_{n}", f"{title}{teachers_in_words(n)}", digits=2, lower=True)
        for kind, title in kinds.items()
        for n in teachers
    ]


def rows(config: Any, runs: Sequence[RunResult]) -> list[Run]:
    """A row of results.json for each method, seed and subset: `error_N` and `best_error_N` of N teachers, of
    averaged weights `ema_error_N` and `best_ema_error_N`, and how the student follows them (`FOLLOWED`).

    The student alone has the same error whatever the number.
    """
    found: dict[tuple[str, int, int | None], Run] = {}
    for done in runs:
        key = done.method, done.seed, done.subset_seed
        row = found.setdefault(key, {"method": done.method, "seed": done.seed, "metrics": {}})
        if done.subset_seed is not None:
            row["subset_seed"] = done.subset_seed
        for number in (len(done.teachers),) if done.teachers else config.teachers:
            for kind in ("", "best_", "ema_", "best_ema_"):
                if f"{kind}top1" in done.metrics:
                    row["metrics"][f"{kind}error_{number}"] = 1 - done.metrics[f"{kind}top1"]
            for column in FOLLOWED:
                row["metrics"][f"{column.metric}_{number}"] = done.metrics.get(column.metric)
    return list(found.values())


def pool_figures(pool: Mapping[str, Any]) -> str:
    """A pool of teachers in words: its members, and the errors of the ensembles that taught, percent."""
    accuracies = [100 * member["top1"] for member in pool["members"]]
    errors = [100 * member["calibration_error"] for member in pool["members"]]
    count, together = len(accuracies), pool["ensemble"]
    taught = ", ".join(
        f"{n}: {100 * statistics.fmean(values):.2f}" for n, values in pool["ensembles"].items()
    )
    said = (
        f"{count} members: top-1 {statistics.fmean(accuracies):.2f} on average ({min(accuracies):.2f} to "
        f"{max(accuracies):.2f}), calibration error {statistics.fmean(errors):.1f}; two of them disagree on "
        f"{_apart(pool):.1f} % of the images. All together: top-1 {100 * together['top1']:.2f}, calibration "
        f"error {100 * together['calibration_error']:.1f}. "
    )
    if training := pool.get("training"):  # not in reports of earlier releases
        alone = statistics.fmean(100 * member["top1"] for member in training["members"])
        said += (
            f"On augmented training images: top-1 {alone:.2f} on average, all together "
            f"{100 * training['ensemble']['top1']:.2f}; two disagree on {_apart(training):.1f} %. "
        )
    return f"{said}Error of the ensembles that taught, by size: {taught}."


def _apart(pool: Mapping[str, Any]) -> float:
    """On how many of the images two members name different classes, on average, percent."""
    count = len(pool["members"])
    return 100 * float(sum(map(sum, pool["disagreement"]))) / max(count * (count - 1), 1)


def pool_table(pool: Mapping[str, Any]) -> TableView:
    """Accuracy, calibration and diversity of the members."""
    rows, count = [], len(pool["members"])
    for number, member in enumerate([*pool["members"], {**pool["ensemble"], "name": "all together"}]):
        cells = [member["name"], f"{100 * member['top1']:.2f}", f"{100 * member['calibration_error']:.1f}"]
        if 1 < count > number:  # means over the other members
            cells.append(f"{100 * sum(pool['disagreement'][number]) / (count - 1):.1f}")
            cells.append(f"{sum(pool['divergence'][number]) / (count - 1):.3f}")
        rows.append([*cells, *[""] * (5 - len(cells))])
    return rows_view(("member", "top-1", "calibration error", "disagreement", "KL"), rows)


def page(outcome: Outcome) -> Page:
    """Error against the number of teachers, diversity of the pool, learning curves, confusion, costs."""
    from .pictures import matrix_picture

    config, pool, pictures = outcome.config, outcome.teacher_metrics, outcome.pictures
    most = max(config.teachers)
    matrix_picture(
        pictures / "diversity.png",
        {"disagreement": pool["disagreement"], "KL(row ‖ column)": pool["divergence"]},
    )
    errors = errors_by_teachers(outcome.summary, config.teachers, pool["ensembles"])
    parts: list[Part] = [Charts("Error against the number of teachers", [errors], "errors.png")]
    parts += learning_curves(outcome.runs, [Column("top1", "top-1")], name_of)
    parts += confusion(outcome.runs, outcome.class_names, name_of)
    parts += [Picture("How the members differ", "diversity.png")]
    if any(pool["ensemble"][column.metric] for column in DISPUTED):
        table = followed(outcome.summary, config.teachers, pool)
        parts.append(Text("How the student follows its teachers", table))
    parts.append(cost_table(outcome))
    return Page(
        f"{len(pool['members'])} {listed(config.teacher.architecture)} into {config.student}",
        columns_of(config.teachers),
        parts=parts,
        notes=pool_figures(pool),
        headline=f"error_{most}",
        headline_title=f"error, percent, with {teachers_in_words(most)}",
    )


def followed(summary: Summary, teachers: Sequence[int], pool: Mapping[str, Any]) -> str:
    """How often the student agrees with the ensemble that taught it, and is right where the whole pool
    decides otherwise than a member; a row for each method and number of teachers, as Markdown."""
    taught = [(method, n) for method in summary for n in (teachers if method != "none" else teachers[:1])]
    named = {
        _named(method, 0 if method == "none" else n): {
            metric: summary[method][f"{metric}_{n}"]
            for metric in (column.metric for column in FOLLOWED)
            if f"{metric}_{n}" in summary[method]
        }
        for method, n in taught
    }
    corrected, overruled = (100 * pool["ensemble"][column.metric] for column in DISPUTED)
    table = summary_view(named, FOLLOWED).markdown()
    return (
        f"{table}\nPercent of test images. Corrected: on {corrected:.1f} % the "
        "pool together is right and a member is not, on average over the members; overruled: on "
        f"{overruled:.1f} % a member is right and the pool is not. A student that names what the pool names "
        "is right in 100 % of the first and in none of the second.\n"
    )


def errors_by_teachers(
    summary: Summary, numbers: Sequence[int], ensembles: Mapping[str, Sequence[float]]
) -> Lines:
    """Return the error against the number of teachers, beside that of the ensembles themselves.

    Args:
        summary: with `error_N` for each number.
        numbers: of teachers.
        ensembles: number → the errors of the ensembles.
    """
    lines = [
        line_of(method, [(n, metrics[f"error_{n}"]) for n in numbers if f"error_{n}" in metrics], 100)
        for method, metrics in summary.items()
    ]
    if ensembles:
        mean = [100 * statistics.fmean(values) for values in ensembles.values()]
        lines.append(Line("the teachers together", list(map(int, ensembles)), mean, dashed=True))
    return Lines("error, percent", lines, "teachers")


def teachers_in_words(number: int) -> str:
    """`1 teacher`, `2 teachers`."""
    return f"{number} teacher{'s' * (number > 1)}"


def _last_epoch(columns: Sequence[Column]) -> Sequence[Column]:
    return [column for column in columns if column.metric.startswith("error_")]


REPORT = TaskReport(
    "ensemble", in_words, page, name=name_of, rows=rows, shown=_last_epoch, heading="error, percent"
)
