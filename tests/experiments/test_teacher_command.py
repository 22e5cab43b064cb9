"""`experiments/teacher.py` as a person runs it."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import torch

import crdkit

SCRIPT = Path(__file__).resolve().parents[2] / "experiments" / "teacher.py"


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """Two classes, dark and bright, as JPEG bytes."""
    path = tmp_path / "two.h5"
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file.attrs["classes"] = ["dark", "bright"]
        for split, count in (("train", 16), ("test", 8)):
            labels = np.arange(count) % 2
            images = rng.integers(0, 80, (count, 32, 32, 3)) + 150 * labels[:, None, None, None]
            stored = file.create_dataset(f"{split}/images", (count,), h5py.vlen_dtype(np.uint8))
            for i, image in enumerate(images):
                stored[i] = cv2.imencode(".jpg", image.astype(np.uint8))[1].ravel()
            file[f"{split}/labels"] = labels
    return path


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--cpu", "--train.batch-size", "8", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900)


def test_weights_are_those_of_the_architecture_and_a_run_is_not_overwritten(
    packed: Path, tmp_path: Path
) -> None:
    short = (
        *("--data.source", "packed", "--data.root", packed.name, "--architecture", "resnet18"),
        *("--output", "out", "--train.epochs", "2", "--train.warmup-epochs", "0"),
    )
    done = run(*short, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    metrics = found["runs"][0]["metrics"]
    history = json.loads((tmp_path / "out" / "training" / "history.json").read_text())
    top1 = [row["top1"] for row in history]
    assert (metrics["top1"], metrics["best_top1"]) == (top1[-1], max(top1)) and len(top1) == 2
    network, _ = crdkit.load(tmp_path / "out")
    assert network(torch.rand(1, 3, 32, 32)).logits.shape == (1, 2)

    again = run(*short, folder=tmp_path)
    assert again.returncode == 1 and "--resume" in again.stderr
    assert run(*short, "--resume", folder=tmp_path).returncode == 0


def test_missing_data_are_answered_without_a_stack_trace(tmp_path: Path) -> None:
    done = run("--data.source", "packed", "--data.root", "absent.h5", "--output", "out", folder=tmp_path)
    assert done.returncode == 1
    assert "absent.h5" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
