"""A run from its configuration to its report, without a pipeline."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from torch import nn

from crdkit.experiments import scenario
from crdkit.reports import Column, Outcome, Page, TaskReport
from crdkit.reports.judged import learning_curves


@dataclass(frozen=True)
class Config:
    """A configuration as those of the pipelines."""

    method: tuple[str, ...] = ("none", "kd")
    setting: tuple[str, ...] = ()
    output: Path | None = None
    resume: bool = False
    precision: str | None = None
    cpu: bool = True
    trackers: tuple[str, ...] = ()
    keep: str = "best"


def result(method: str, seed: int, **more: Any) -> Any:
    given = {"teachers": (), "subset_seed": None, "details": {}, "network": nn.Identity(), **more}
    metrics = {"top1": 0.5 + 0.1 * seed, "best_top1": 0.7}
    history = [{"epoch": 1, "top1": 0.3}, {"epoch": 2, "top1": 0.5}]
    return SimpleNamespace(method=method, seed=seed, metrics=metrics, history=history, **given)


@dataclass
class FakePipeline:
    """Results without a training."""

    config: Config
    results: list[Any]
    metrics: list[dict[str, float]] = field(default_factory=list)
    tidied: list[str] = field(default_factory=list)
    data = SimpleNamespace(dataset=range(7), modality="rgb")
    held_out = describe_network = None
    teachers = ()

    @property
    def stages(self) -> Any:
        return SimpleNamespace(tidy=self.tidied.append)

    def runs(self) -> Iterator[Any]:
        yield from self.results

    def teacher_metrics(self) -> list[dict[str, float]]:
        return self.metrics


def run_fake(folder: Path, results: list[Any], teachers: list[dict[str, float]], config: Config) -> Path:
    def page(outcome: Outcome) -> Page:
        assert outcome.class_names == ("a",) and outcome.num_samples == 7 and not outcome.teachers
        parts = learning_curves(outcome.runs, columns)
        return Page("A run", columns, notes="A note.", parts=parts)

    columns = [Column("top1", "top-1")]
    report = TaskReport("task", lambda done: f"top-1 {100 * done.metrics['top1']:.0f}", page)

    def prepare(config: Config, accelerator: Any, folder: Path) -> scenario.Prepared:
        pipeline = FakePipeline(config, results, teachers)
        return scenario.Prepared(pipeline, lambda runs: {"sample": {}, "class_names": ("a",)})

    with patch.object(scenario, "deploy") as deploy, patch.object(scenario, "Origin"):
        left = scenario.run(scenario.Scenario(report, prepare), config, "digits", name="script")
    assert deploy.call_count == bool(results)
    return left


def test_a_run_leaves_lines_results_and_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = Config(output=tmp_path / "out", setting=("kd.temperature=2",))
    results = [result(method, seed) for seed in (0, 1) for method in ("none", "kd")]
    assert run_fake(tmp_path, results, [{}, {"top1": 0.9}], config) == tmp_path / "out"
    printed = capsys.readouterr().out
    assert "kd, seed 1: top-1 60" in printed and "55.0 ± 7.1" in printed
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert (found["task"], found["preset"], found["teacher"]) == ("task", "digits", {"top1": 0.9})
    assert [(one["method"], one["seed"]) for one in found["runs"]] == [
        ("none", 0),
        ("kd", 0),
        ("none", 1),
        ("kd", 1),
    ]
    assert found["config"]["setting"] == ["kd.temperature=2"]
    report = (tmp_path / "out" / "report.md").read_text()
    assert "# A run: digits\n" in report and "A note." in report and "pictures/curves.png" in report
    assert (tmp_path / "out" / "config.yaml").is_file()


def test_teachers_are_listed_if_several_and_absent_if_none(tmp_path: Path) -> None:
    for name, teachers, expected in (
        ("two", [{"top1": 0.9}, {"top1": 0.8}], [{"top1": 0.9}, {"top1": 0.8}]),
        ("none", [{}], None),
    ):
        run_fake(tmp_path, [result("kd", 0)], teachers, Config(output=tmp_path / name))
        found = json.loads((tmp_path / name / "results.json").read_text())
        assert found.get("teacher") == expected
    alone = Config(output=tmp_path / "alone", method=("none",))
    run_fake(tmp_path, [result("none", 0)], [{"top1": 0.9}], alone)
    assert "teacher" not in json.loads((tmp_path / "alone" / "results.json").read_text())


def test_without_runs_there_is_no_report(tmp_path: Path) -> None:
    folder = run_fake(tmp_path, [], [], Config(output=tmp_path / "out"))
    assert [path.name for path in folder.iterdir()] == ["config.yaml"]
