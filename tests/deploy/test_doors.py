"""Each pipeline's student, read back in a new process through every documented door, has the table's figure
exactly."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DOORS = Path(__file__).with_name("doors.py")
DIGITS = ["--data.classes", "3", "--student", "resnet8"]
RUNS = {
    "compress": ["compress", *DIGITS, "--method", "crd", "simkd", "--precision", "bf16"],
    "ensemble": ["ensemble", *DIGITS, "--method", "none", "kd-mean", "--teachers", "2"],
    "rooms": [
        "crossmodal",
        "--method",
        "crd-dense",
        "--data.size",
        "48",
        "64",
        "--data.train-samples",
        "32",
        "--data.test-samples",
        "12",
        "--data.unlabeled-samples",
        "0",
        "--transfer.cached-augmentations",
        "1",
        "--precision",
        "bf16",
    ],
    "lab": ["crossmodal", "lab", "--method", "none", "--probe.dimension", "16"],
}
EPOCHS = {"compress": 8, "ensemble": 8, "rooms": 1, "lab": 3}
"""Enough for figures that another normalization would change."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the four runs."""
    folder = tmp_path_factory.mktemp("runs")
    for name, arguments in RUNS.items():
        command = [
            sys.executable,
            "-m",
            "crdkit",
            *arguments,
            "--cpu",
            "--epochs",
            str(EPOCHS[name]),
            "--output",
            name,
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def reached(folder: Path) -> dict[str, Any]:
    """By every door."""
    command = [sys.executable, str(DOORS), str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(run: Path) -> dict[str, dict[str, float]]:
    rows = json.loads((run / "results.json").read_text())["runs"]
    return {row["method"]: row["metrics"] for row in rows}


def test_compression(folder: Path, reached: dict[str, Any]) -> None:
    figures, found = table(folder / "compress"), reached["compress"]
    assert found.pop("runs/simkd/seed-0/student.safetensors") is not None  # without the teacher's classifier
    assert found == {
        "deploy/crd": figures["crd"]["top1"],
        "deploy/simkd": figures["simkd"]["top1"],
        "runs/crd/seed-0/student.safetensors": figures["crd"]["top1"],
        "runs/simkd/seed-0/deployed.safetensors": figures["simkd"]["top1"],
    }
    assert reached["compress files"] == figures["crd"]["top1"] > 0.6


def test_ensembles(folder: Path, reached: dict[str, Any]) -> None:
    top1 = {name: 1 - row["error_2"] for name, row in table(folder / "ensemble").items()}
    assert reached["ensemble"] == {
        "deploy/none": top1["none"],
        "deploy/kd-mean-teachers-2": top1["kd-mean"],
        "runs/none/seed-0/student.safetensors": top1["none"],
        "runs/kd-mean/teachers-2/draw-0/seed-0/student.safetensors": top1["kd-mean"],
    }
    assert min(top1.values()) > 0.6


def test_segmentation(folder: Path, reached: dict[str, Any]) -> None:
    figure = table(folder / "rooms")["crd-dense"]["mean_iou"]
    assert reached["rooms"]["module"] == figure
    assert reached["rooms"]["files"] == pytest.approx(figure, rel=1e-6)  # summed in another order


def test_recognition(folder: Path, reached: dict[str, Any]) -> None:
    assert reached["lab"] == table(folder / "lab")["none"]["finetune_top1"]
