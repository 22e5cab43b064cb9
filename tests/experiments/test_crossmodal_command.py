"""`experiments/crossmodal.py` as a person runs it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "experiments" / "crossmodal.py"
BRIEF = ["epochs", "2"], ["warmup-epochs", "0"], ["batch-size", "8"], ["checkpoint-every", "0.5"]
TINY = [
    *("--cpu", "--data.size", "32", "32", "--data.train-samples", "24", "--data.test-samples", "6"),
    *("--data.unlabeled-samples", "0"),
    *("--teacher.width", "8", "--transfer.cached-augmentations", "1"),
    *("--setting", "crd-local.embed_dim=8", "crd-dense.embed_dim=8", "crd-dense.queue_size=16"),
    *(
        part
        for stage in ("teacher", "transfer", "segment")
        for name, n in BRIEF
        for part in (f"--{stage}.train.{name}", n)
    ),
]


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900)


def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())


def test_run_leaves_a_table_a_json_and_pictures(tmp_path: Path) -> None:
    done = run(*TINY, "--method", "none", "crd-local", "--seed", "3", "--output", "out", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "crd-local" in done.stdout and "mean IoU" in done.stdout
    found = results(tmp_path / "out")
    assert (found["task"], found["preset"]) == ("crossmodal", "synthetic")
    assert [(r["method"], r["seed"]) for r in found["runs"]] == [("none", 3), ("crd-local", 3)]
    assert found["summary"]["crd-local"]["mean_iou"]["n"] == 1
    report = (tmp_path / "out" / "report.md").read_text()
    for picture in ("methods", "predictions", "curves"):
        assert f"pictures/{picture}.png" in report
        assert (tmp_path / "out" / "pictures" / f"{picture}.png").stat().st_size > 1000
    assert "crd-local" in (tmp_path / "out" / "config.yaml").read_text()
    assert not list((tmp_path / "out").rglob(".tmp*"))

    tenth = ("--segment.label-fraction", "0.5", "--reuse", "out", "--output", "half")
    done = run(*TINY, "--method", "none", "crd-local", "--seed", "3", *tenth, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    stage = "runs/crd-local/seed-3/student.safetensors"
    assert (tmp_path / "half" / stage).read_bytes() == (tmp_path / "out" / stage).read_bytes()
    assert "out" in (tmp_path / "half" / "config.yaml").read_text()

    again = run(*TINY, "--output", "out", folder=tmp_path)
    assert again.returncode == 1 and "--resume" in again.stderr


def test_views_of_one_image_are_probed_tuned_and_drawn(tmp_path: Path) -> None:
    brief = [
        part
        for stage in ("--teacher.train", "--transfer.train", "--finetune")
        for part in (f"{stage}.epochs", "1", f"{stage}.warmup-epochs", "0")
    ]
    chosen = ("--method", "none", "crd+kd", "--probe.dimension", "16", "--teacher.architecture", "resnet8")
    done = run("lab", "--cpu", *brief, *chosen, "--output", "out", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "crd+kd, seed 0: probes" in done.stdout
    found = results(tmp_path / "out")
    assert (found["task"], found["preset"]) == ("recognition", "lab")
    assert set(found["summary"]["crd+kd"]) >= {"probe_1", "probe_4", "knn", "finetune_top1"}
    assert found["teacher"]["top1"] <= found["teacher"]["best_top1"]
    report = (tmp_path / "out" / "report.md").read_text()
    for picture in ("layers", "neighbors", "curves"):
        assert f"pictures/{picture}.png" in report
        assert (tmp_path / "out" / "pictures" / f"{picture}.png").stat().st_size > 1000
    assert "The teacher (resnet8) sees L," in report and "1800 images without labels" in report


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (["nyu-smal"], "did you mean nyu-small"),
        (["--method", "crd-dens"], "'crd-dens'"),
        (["nyu-small"], "--data.root"),
        (["nyu-small", "--data.root", "."], "nyu_depth_v2_labeled.mat"),
        (["nyu-small", "--data.root", "no/such/place"], "no/such/place"),
        (["--resume"], "--output"),
        (["--metod", "kd"], "--method"),
    ],
)
def test_bad_use_is_answered_without_a_stack_trace(arguments: list[str], value: str, tmp_path: Path) -> None:
    done = run(*arguments, folder=tmp_path)
    assert done.returncode != 0
    assert value in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_killed_in_every_stage_and_resumed_gives_the_same_figures(
    tmp_path: Path, kill_in: Callable[..., None]
) -> None:
    arguments = [*TINY, "--method", "crd-dense+kd"]
    undisturbed = run(*arguments, "--output", "whole", folder=tmp_path)
    assert undisturbed.returncode == 0, undisturbed.stderr
    broken = tmp_path / "broken"
    stages = [f"runs/crd-dense+kd/seed-0/{name}" for name in ("transfer", "segment")]
    stages.insert(0, "teachers/rgb-seed-0")
    for attempt, stage in enumerate(stages):
        resume = ["--resume"] if attempt else []
        kill_in(broken / stage, SCRIPT.name, *arguments, "--output", "broken", *resume, folder=tmp_path)
    finished = run(*arguments, "--output", "broken", "--resume", folder=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert results(broken)["runs"] == results(tmp_path / "whole")["runs"]
    left = [sorted((tmp_path / run).rglob("*.safetensors")) for run in ("whole", "broken")]
    assert len(left[0]) == 5  # teacher, student, as it is judged, as it is deployed with test samples
    for one, other in zip(*left, strict=True):
        assert one.read_bytes() == other.read_bytes(), f"{other} differs"
