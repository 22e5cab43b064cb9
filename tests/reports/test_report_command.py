"""`crdkit report`: runs beside each other, and a run's report again."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reported import COLUMNS, ENVIRONMENT, write_run

from crdkit.experiments import report
from crdkit.reports.compare import compare, flat, short_names
from crdkit.reports.page import Page, Table, Text
from crdkit.reports.paired import best_less_others, gain, paired, reach
from crdkit.reports.tables import Run, summarize


def runs(*rows: tuple[str, int, float]) -> list[Run]:
    return [{"method": method, "seed": seed, "metrics": {"mean_iou": x}} for method, seed, x in rows]


def results(made: list[Run], **config: Any) -> dict[str, Any]:
    summary = {run["method"]: {"mean_iou": {"mean": 0.0, "std": None, "n": 1}} for run in made}
    return {"task": "t", "runs": made, "summary": summary, "config": config, "environment": ENVIRONMENT}


A = runs(("none", 0, 0.40), ("none", 1, 0.50), ("kd", 0, 0.5), ("at", 5, 0.5))
B = runs(("none", 1, 0.54), ("none", 0, 0.42), ("none", 7, 0.9), ("kd", 0, 0.4), ("at", 6, 0.5))


def test_differences_are_of_the_same_seed() -> None:
    found = paired(A, B, "mean_iou")
    assert {method: [round(x, 9) for x in values] for method, values in found.items()} == {
        "none": [0.04, 0.02],
        "kd": [-0.1],
    }
    one: list[Run] = [{"method": "kd", "seed": 0, "subset_seed": 1, "metrics": {"mean_iou": 0.5}}]
    assert paired(A, one, "mean_iou") == {}  # another draw of the teachers


def test_the_best_method_less_each_other_by_seed() -> None:
    rows = runs(
        ("kd", 0, 0.5), ("kd", 1, 0.6), ("at", 1, 0.5), ("at", 0, 0.44), ("at", 2, 0.1), ("sp", 0, 0.2)
    )
    (table,) = best_less_others(rows, summarize(rows), COLUMNS, "mean_iou")
    assert table.heading == "kd less the others" and table.columns == ["less", "mean IoU", "seeds"]
    # 6 and 10 points: a mean of 8, a deviation of 2.83, by the root of two.
    assert table.rows == [["at", "+8.0 ± 2.0", 2], ["sp", "+30.0", 1]]
    lower = [replace(COLUMNS[0], lower=True)]
    assert best_less_others(rows, summarize(rows), lower, None)[0].heading == "sp less the others"
    assert best_less_others(rows[:1] + rows[3:4], summarize(rows), COLUMNS, "mean_iou") == []  # one seed
    assert best_less_others(rows[:2], summarize(rows[:2]), COLUMNS, "mean_iou") == []  # one method


def test_a_star_marks_what_the_seeds_are_sure_of() -> None:
    # Quantiles as Student's tables print them.
    assert [round(reach(n), 2) for n in (2, 3, 5, 31)] == [12.71, 4.30, 2.78, 2.04]
    # The 95 % interval of 1 ± 0.1 reaches from 0.57 with three seeds, that of 1 ± 0.25 from below zero.
    spread = (-1.0, 0.0, 1.0)
    sure, unsure = ([0.01 * (1 + error * 3**0.5 * x) for x in spread] for error in (0.1, 0.25))
    assert gain(sure, COLUMNS[0]) == "+1.0 ± 0.1 *"
    assert gain(unsure, COLUMNS[0]) == "+1.0 ± 0.2"
    assert gain([-each for each in sure], COLUMNS[0]) == "-1.0 ± 0.1 *"
    # Two that agree are sure, alike or not at all different; one alone is not.
    assert gain([0.02, 0.02], COLUMNS[0]) == "+2.0 ± 0.0 *"
    assert gain([0.0, 0.0], COLUMNS[0]) == "+0.0 ± 0.0"
    assert gain([0.02], COLUMNS[0]) == "+2.0"
    assert gain([], COLUMNS[0]) is None


def test_a_comparison_has_one_table_paired_differences_and_what_differs() -> None:
    first = results(A, student="resnet8", transfer={"lr": 0.1, "epochs": 3}, output="a")
    other = results(B, student="resnet8", transfer={"lr": 0.2, "epochs": 3}, output="b", probe=[])
    pages = [Page("RGB to depth", COLUMNS), Page("RGB to depth", COLUMNS)]
    page, figures = compare(["a", "b"], [first, other], pages)
    assert list(figures["summary"]) == ["a · none", "a · kd", "a · at", "b · none", "b · kd", "b · at"]
    assert figures["summary"]["b · none"]["mean_iou"]["n"] == 3
    assert [column.metric for column in page.columns] == ["mean_iou"]
    gains, differs = page.parts
    assert isinstance(gains, Table) and isinstance(differs, Table)
    assert gains.heading == "b less a"
    assert gains.rows == [["none", "+3.0 ± 1.0", 2], ["kd", "-10.0", 1]]
    assert differs.rows == [["transfer.lr", "0.1", "0.2"], ["probe", "–", "[]"]]
    same = compare(["a", "b"], [first, first], pages)[0].parts[-1]
    assert isinstance(same, Text) and "same" in same.markdown
    assert flat({"a": {"b": {"c": 1}}, "d": {}}) == {"a.b.c": 1, "d": {}}


def test_runs_of_other_kinds_cannot_be_compared() -> None:
    other = {**results(A), "task": "u", "summary": {"none": {"top1": {"mean": 1.0, "std": None, "n": 1}}}}
    with pytest.raises(ValueError, match=r"no metric in common .*t, u"):
        compare(["a", "b"], [results(A), other], [Page("x", COLUMNS)] * 2)


def test_names_are_as_long_as_it_takes(tmp_path: Path) -> None:
    assert short_names([tmp_path / "a" / "run", tmp_path / "b" / "run"]) == ["a/run", "b/run"]
    assert short_names([tmp_path / "a" / "run", tmp_path / "other"]) == ["run", "other"]
    with pytest.raises(ValueError, match="run stands twice"):
        short_names([tmp_path / "run", tmp_path / "x" / ".." / "run"])


def test_the_command_compares_and_makes_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, _ = write_run(tmp_path / "one"), write_run(tmp_path / "two", student="resnet14")

    report.main([str(one), str(tmp_path / "two"), "--output", str(tmp_path / "both")])
    assert capsys.readouterr().out.strip() == str(tmp_path / "both" / "report.html")
    html = (tmp_path / "both" / "report.html").read_text()
    assert "two · kd" in html and "resnet14" in html
    assert "| student | resnet8 | resnet14 |" in (tmp_path / "both" / "report.md").read_text()

    report.main([str(one)])
    made = (one / "report.html").read_text()
    report.main([str(one), "--output", str(tmp_path / "copy")])
    assert (tmp_path / "copy" / "report.html").read_text() == made
    assert (tmp_path / "copy" / "pictures" / "predictions.png").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "name one run folder"),
        (("a", "b"), 2, "--output is missing"),
        (("absent",), 1, "absent is no folder"),
        ((".",), 1, "holds no finished run"),
    ],
)
def test_mistakes_are_told(
    arguments: tuple[str, ...],
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        report.main(list(arguments))
    assert stop.value.code == code and words in capsys.readouterr().err


def test_a_damaged_file_is_told_of(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "results.json").write_text("{")
    with pytest.raises(SystemExit, match=r"results\.json has 1 bytes instead of"):
        report.main([str(run)])
    (run / "manifest.json").unlink()  # of a run before there were digests
    with pytest.raises(SystemExit, match=r"results\.json is damaged"):
        report.main([str(run)])
    (run / "results.json").write_text('{"task": "t"}')
    with pytest.raises(SystemExit, match="not of a run"):
        report.main([str(run)])
