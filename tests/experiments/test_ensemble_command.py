"""`experiments/ensemble.py` as a person runs it."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "experiments" / "ensemble.py"
SHORT = [
    *("--transfer.train.epochs", "1", "--transfer.train.warmup-epochs", "0"),
    *("--teacher.train.epochs", "1", "--teacher.train.warmup-epochs", "0"),
]
TINY = [
    *("--cpu", "--data.classes", "3", "--teacher.number", "2", "--teacher.architecture", "resnet8"),
    *("--teachers", "1", "2", "--transfer.cached-augmentations", "2"),
    *("--setting", "crd.num_negatives=32", *SHORT),
]


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], cwd=folder, capture_output=True, text=True, timeout=900
    )


def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())


def test_run_leaves_a_figure_a_table_and_a_json(tmp_path: Path) -> None:
    chosen = ("--method", "none", "kd-mean", "crd+kd", "--subset-seed", "2", "3")
    done = run(*TINY, *chosen, "--output", "out", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "all together" in done.stdout and "crd with 2 teachers keeps" in done.stdout
    assert done.stdout.index("all together") < done.stdout.index("kd-mean, 1 teacher,")
    found = results(tmp_path / "out")
    assert (found["task"], found["preset"]) == ("ensemble", "digits")
    report = (tmp_path / "out" / "report.md").read_text()
    for method in ("kd-mean", "crd+kd"):
        for number in (1, 2):
            statistic = found["summary"][method][f"error_{number}"]
            metrics = [run["metrics"] for run in found["runs"] if run["method"] == method]
            errors = [values[f"error_{number}"] for values in metrics if f"error_{number}" in values]
            assert statistic["n"] == len(errors) == 2
            assert statistic["mean"] == pytest.approx(sum(errors) / 2)
    alone = found["summary"]["none"]
    assert alone["error_1"] == alone["error_2"] and alone["error_1"]["n"] == 1
    assert len(found["teacher"]["members"]) == 2
    errors = found["teacher"]["ensembles"]
    assert {number: len(values) for number, values in errors.items()} == {"1": 2, "2": 1}
    assert json.loads((tmp_path / "out" / "pool.json").read_text())["members"] == found["teacher"]["members"]
    apart = 100 * found["teacher"]["training"]["disagreement"][0][1]
    assert "On augmented training images: top-1" in report and f"two disagree on {apart:.1f} %" in report
    assert "How the student follows its teachers" in report
    for who in ("none", "kd-mean, 1 teacher", "kd-mean, 2 teachers", "crd+kd, 2 teachers"):
        followed = r"\n\| " + re.escape(who) + r" \| [\d.± *–]+ \| [\d.± *–]+ \| [\d.± *–]+ \| [12] \|\n"
        assert re.search(followed, report), who
    for picture in ("errors", "diversity", "curves", "methods"):
        assert f"pictures/{picture}.png" in report
        assert (tmp_path / "out" / "pictures" / f"{picture}.png").stat().st_size > 1000
    assert str(tmp_path) not in (tmp_path / "out" / "results.json").read_text()

    again = run(*TINY, "--output", "out", folder=tmp_path)
    assert again.returncode == 1 and "--resume" in again.stderr
    resumed = run(*TINY, *chosen, "--output", "out", "--resume", folder=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert results(tmp_path / "out")["runs"] == found["runs"]


def test_without_teachers_the_pool_is_all(tmp_path: Path) -> None:
    small = ("--data.classes", "3", "--teacher.number", "1", "--teacher.seed", "5", *SHORT)
    done = run("--cpu", *small, "--output", "out", "--teachers", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "pool alone" in done.stdout and (tmp_path / "out/teachers/rgb-seed-5").is_dir()
    assert len(json.loads((tmp_path / "out/pool.json").read_text())["members"]) == 1
    assert not (tmp_path / "out/runs").exists() and not (tmp_path / "out/results.json").exists()


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (("cifar100-wnr",), "did you mean cifar100-wrn"),
        (("--method", "kd-meen"), "'kd-meen'"),
        (("--method", "simkd"), "simkd"),
        (("--teachers", "9"), "9"),
        (("--teachers", "1", "2", "1"), "teachers 1 stands twice"),
        (("--subset-seed", "0", "0"), "subset_seed 0 stands twice"),
        (("--teacher.weights", "absent.pth", "--teacher.number", "1", "--teachers", "1"), "0 (absent.pth)"),
        (("--teacher.weights", "a.pth", "b.pth"), "teachers 0 and 2 are the same, resnet14 with a.pth"),
        (("cifar100-wrn",), "cifar100"),
    ],
)
def test_bad_use_is_answered_without_a_stack_trace(
    arguments: tuple[str, ...], value: str, tmp_path: Path
) -> None:
    done = run(*arguments, "--cpu", folder=tmp_path)
    assert done.returncode != 0
    assert value in done.stderr + done.stdout and "Traceback" not in done.stderr
