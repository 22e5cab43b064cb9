"""The alignment in a report: the student before its transfer, and every method after it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from crdkit.pipelines import RunResult
from crdkit.reports.alignment import alignment_parts, with_critic
from crdkit.reports.outcome import Outcome
from crdkit.reports.page import Charts, Page, Text
from crdkit.reports.report import write_report
from crdkit.reports.results import write_results
from crdkit.reports.tables import Column

FIGURES = {
    "r1": 0.1,
    "r10": 0.5,
    "back_r1": 0.2,
    "back_r10": 0.6,
    "cosine": 0.3,
    "cka": 0.25,
    "effective_rank": 12.34,
    "spread": 0.4,
    "pairs": 50.0,
}


def done(method: str, seed: int, gain: float, **more: float) -> RunResult:
    before = {f"alignment_before/{name}": value for name, value in FIGURES.items()}
    after = {f"alignment/{name}": value for name, value in FIGURES.items()} | {"alignment/r1": 0.1 + gain}
    rows = [{"epoch": epoch, "alignment/r1": 0.1 + gain * epoch} for epoch in range(2)]
    metrics: dict[str, Any] = {"accuracy": 0.5}
    if method != "none":
        metrics |= {**after, **before, **more}
    return RunResult(method, seed, metrics, [], nn.Identity(), details={"alignment": rows})


def outcome(folder: Path, *runs: RunResult) -> Outcome:
    return Outcome(folder, SimpleNamespace(), runs, [], torch.device("cpu"), {})


def test_a_table_before_and_after_and_a_chart(tmp_path: Path) -> None:
    critic = {"crd/true_score": 0.8, "crd/noise_score": 0.1, "crd/critic_accuracy": 0.9}
    runs = [done("none", s, 0) for s in (0, 1)] + [done("crd", s, 0.2 * (1 + s), **critic) for s in (0, 1)]
    runs += [done("kd", s, 0.05) for s in (0, 1)]
    parts = alignment_parts(outcome(tmp_path, *runs))
    table, curves = parts
    assert isinstance(table, Text) and isinstance(curves, Charts)
    text = table.markdown
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("|")}
    assert list(rows) == ["method", "---", "before", "crd", "kd"]
    assert "| 10.0 ± 0.0 |" in rows["before"] and "| **40.0 ± 14.1** |" in rows["crd"]
    assert "90.0 ± 0.0" in rows["crd"] and "–" in rows["kd"] and "12.3" in rows["kd"]
    assert "50 pairs" in text and "2 and 20 %" in text
    (chart,) = curves.charts  # of the three metrics the one that was measured
    assert (chart.title, [line.name for line in chart.lines]) == ("R@1", ["crd", "kd"])
    assert [round(value, 9) for value in chart.lines[0].mean] == [10.0, 40.0]
    rows_of = [{"method": run.method, "seed": run.seed, "metrics": run.metrics} for run in runs]
    environment: dict[str, Any] = {
        "date": "2026-01-02",
        "commit": None,
        "dirty": False,
        "python": "3",
        "packages": {"torch": "2", "crdkit": "0"},
        "hardware": {"cpu": "one", "cores": 2, "gpus": []},
    }
    write_results(tmp_path, task="t", preset="p", runs=rows_of, environment=environment)  # type: ignore[arg-type]
    write_report(tmp_path, Page("A title", [Column("accuracy", "accuracy")], parts=parts))
    assert (tmp_path / "pictures" / "alignment.png").read_bytes().startswith(b"\x89PNG")
    written = (tmp_path / "report.md").read_text()
    table_at, picture_at = written.index(f"## {table.heading}\n\n| method"), written.index("alignment.png)")
    assert written.index("## Results") < table_at < picture_at < written.index("## Env")


def test_runs_without_the_figures_have_no_section(tmp_path: Path) -> None:
    assert alignment_parts(outcome(tmp_path, done("none", 0, 0))) == []
    assert not (tmp_path / "pictures").exists()


def test_critics_of_several_terms_are_averaged() -> None:
    found = with_critic({"crd/true_score": 0.5, "crd-dense/true_score": 0.7, "top1": 1.0})
    assert found["true_score"] == pytest.approx(0.6) and "noise_score" not in found and found["top1"] == 1.0
