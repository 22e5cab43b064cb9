"""The part of a report that tells whether a transfer without labels has worked."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .charts import History, over_epochs
from .page import Charts, Part, Text
from .tables import Column, Run, Summary, summarize
from .views import summary_view

if TYPE_CHECKING:
    from .outcome import Outcome

CRITIC = (
    Column("true_score", "score of true pairs", scale=1, digits=2),
    Column("noise_score", "of noise pairs", scale=1, digits=2, lower=True),
    Column("critic_accuracy", "critic's accuracy"),
)
COLUMNS = (
    Column("alignment/r1", "R@1"),
    Column("alignment/r10", "R@10"),
    Column("alignment/back_r1", "back R@1"),
    Column("alignment/back_r10", "back R@10"),
    Column("alignment/cosine", "cosine", scale=1, digits=3),
    Column("alignment/cka", "CKA", scale=1, digits=3),
    Column("alignment/effective_rank", "effective rank", scale=1),
    Column("alignment/spread", "spread", scale=1, digits=3),
    *CRITIC,
)
CURVES = (COLUMNS[0], COLUMNS[4], COLUMNS[6])
FIRST = "before"


def alignment_parts(outcome: Outcome) -> list[Part]:
    """A table of the alignment before and after, and its curves over the epochs; nothing if no run has the
    figures."""
    histories: dict[str, list[History]] = {}
    for done in outcome.runs:
        if is_aligned(done.metrics):
            histories.setdefault(done.method, []).append(done.details.get("alignment", []))
    if not histories:
        return []
    summary = alignment_summary(
        {"method": done.method, "seed": done.seed, "metrics": done.metrics} for done in outcome.runs
    )
    charts = over_epochs(histories, CURVES)
    pairs = round(summary[FIRST]["alignment/pairs"]["mean"])
    chance = " and ".join(f"{100 * min(1, k / pairs):.3g}" for k in (1, 10))
    text = (
        f"`{FIRST}` is the student before its transfer, the rows below after it: {pairs} pairs that no "
        "training saw, no label. R@k: the student's vector, mapped linearly to the teacher's space, has "
        f"its own pair among the nearest 1 or 10 (by chance {chance} %); back: the teacher's vector finds "
        "the student's."
    )
    return [
        Text("Alignment with the teacher", f"{summary_view(summary, COLUMNS).markdown()}\n{text}"),
        *([Charts("Alignment over the epochs", charts, "alignment.png")] if charts else []),
    ]


def is_aligned(metrics: Mapping[str, Any]) -> bool:
    """Whether the figures of alignment are among them."""
    return any(name.startswith("alignment/") for name in metrics)


def alignment_summary(runs: Iterable[Run]) -> Summary:
    """Mean and deviation of the alignment before the transfer, then after each method's."""
    rows, first = list[Run](), dict[int, Run]()
    for run in runs:
        figures = with_critic(run["metrics"])
        if not is_aligned(figures):
            continue
        before = {
            name.replace("alignment_before/", "alignment/"): value
            for name, value in figures.items()
            if name.startswith("alignment_before/")
        }
        # The student has the same first weights for every method of a seed.
        first.setdefault(run["seed"], {"method": FIRST, "seed": run["seed"], "metrics": before})
        rows.append({"method": run["method"], "seed": run["seed"], "metrics": figures})
    return summarize([*first.values(), *rows])


def with_critic(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics with what critics tell of themselves under one name: of `TERM/true_score` and the like the mean
    over the terms."""
    found = dict(metrics)
    for column in CRITIC:
        values = [value for name, value in metrics.items() if name.endswith(f"/{column.metric}")]
        if values:
            found[column.metric] = statistics.fmean(values)
    return found
