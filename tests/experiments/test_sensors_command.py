"""The worked examples of docs/sensors.md, small: the same commands, with fewer recordings and steps."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from crdkit.models import create, save_weights

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    "--cpu",
    "--method",
    "crd-dense",
    "--teacher.architecture",
    "depth_cnn",
    "--teacher.classes",
    "3",
    "--student",
    "depth_cnn_half",
    "--transfer.train.epochs",
    "1",
    "--transfer.train.warmup-epochs",
    "0",
    "--transfer.cached-augmentations",
    "1",
    "--setting",
    "crd-dense.embed_dim=8",
    "--output",
    "out",
]


def commands(sensor: str) -> list[list[str]]:
    """Those of the sensor's section, without the launcher."""
    page = (ROOT / "docs/sensors.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    (block,) = (b for b in blocks if f"sensors.py {sensor} " in b)
    lines = block.replace("\\\n", " ").strip().splitlines()
    return [shlex.split(line.replace("accelerate launch", "python"))[1:] for line in lines]


def run(folder: Path, script: str, *arguments: str) -> str:
    command = [sys.executable, str(ROOT / script), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("sensor", ["thermal", "events"])
def test_a_transfer_to_another_sensor_runs_by_configuration(tmp_path: Path, sensor: str) -> None:
    (script, *made), (command, *transfer) = commands(sensor)
    run(tmp_path, script, *made, "--recordings", "4")
    root = tmp_path / made[1]
    first = next(iter(sorted((root / sensor).rglob("*.*"))))
    if sensor == "thermal":
        stored = cv2.imread(str(first), cv2.IMREAD_UNCHANGED)
        assert stored.dtype == np.uint16 and stored.shape == (60, 80)
        assert 28_000 < stored.min() < stored.max() < 32_000  # hundredths of a kelvin in a room
    else:
        stored = np.load(first)
        assert stored.dtype == np.int16 and stored.shape == (96, 128, 2) and stored.max() > 0
    save_weights(create("depth_cnn", num_classes=3, in_channels=3), tmp_path / "teacher.safetensors")
    said = run(tmp_path, command, *transfer, *SMALL, "--teacher.weights", "teacher.safetensors")
    assert f"{sensor}: " in said  # what it is taken for
    found = json.loads((tmp_path / "out/results.json").read_text())
    (one,) = found["runs"]
    assert one["metrics"]["alignment/pairs"] == 10 and "mean_iou" not in one["metrics"]
    assert (tmp_path / "out/runs/crd-dense/seed-0/student.safetensors").stat().st_size > 1000
    (statistics,) = (tmp_path / "out").glob("statistics/values.json")
    mean = json.loads(statistics.read_text())["mean"][sensor]
    if sensor == "thermal":
        assert 285 < mean[0] < 305  # kelvin
    else:
        assert len(mean) == 2 and all(0 < value < 20 for value in mean)
    report = (tmp_path / "out/report.md").read_text()
    assert "pictures/pairs.png" in report and (tmp_path / "out/pictures/pairs.png").stat().st_size > 5000
