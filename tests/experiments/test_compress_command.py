"""`experiments/compress.py` as a person runs it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
import torch

from crdkit.deploy import load
from crdkit.models import create, save_weights

SCRIPT = Path(__file__).resolve().parents[2] / "experiments" / "compress.py"
SHORT = [
    *("--transfer.train.epochs", "2", "--transfer.train.warmup-epochs", "0"),
    *("--transfer.train.evaluate-every", "1"),
    *("--teacher.train.epochs", "1", "--teacher.train.warmup-epochs", "0"),
]
TINY = ["--cpu", "--data.classes", "3", "--teacher.architecture", "resnet14", *SHORT]


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900)


def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """Two classes, dark and bright, as PNG bytes."""
    path, rng = tmp_path / "two.h5", np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file.attrs["classes"] = ["dark", "bright"]
        for split, count in (("train", 30), ("test", 10)):
            labels = np.arange(count) % 2
            images = rng.integers(0, 80, (count, 48, 48, 3)) + 150 * labels[:, None, None, None]
            stored = file.create_dataset(f"{split}/images", (count,), h5py.vlen_dtype(np.uint8))
            for i, image in enumerate(images):
                stored[i] = cv2.imencode(".png", image.astype(np.uint8))[1].ravel()
            file[f"{split}/labels"] = labels
    return path


def test_mixed_images_and_an_averaged_student(tmp_path: Path) -> None:
    chosen = ("--method", "crd+dkd", "--transfer.mix", "cutmix", "--transfer.ema", "0.9")
    done = run(*TINY, *chosen, "--output", "out", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    metrics = results(tmp_path / "out")["runs"][0]["metrics"]
    assert metrics["ema_top1"] <= metrics["best_ema_top1"]
    assert "EMA top-1" in (tmp_path / "out" / "report.md").read_text()
    student = tmp_path / "out/runs/crd+dkd/seed-0/student-ema.safetensors"
    network, _ = load(student)
    assert network.eval()(torch.rand(2, 3, 32, 32)).logits.shape == (2, 3)
    refused = run(*TINY, *chosen, "--transfer.cached-augmentations", "2", folder=tmp_path)
    assert refused.returncode == 2 and "--transfer.cached-augmentations 0" in refused.stderr


def test_run_leaves_a_table_a_json_and_pictures(packed: Path, tmp_path: Path) -> None:
    chosen = ("--method", "none", "crd+kd", "--setting", "crd.num_negatives=32", "kd.temperature=2")
    done = run(*TINY, *chosen, "--probe", packed.name, "--tsne", "--output", "out", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "crd+kd" in done.stdout and "top-1" in done.stdout
    found = results(tmp_path / "out")
    assert (found["task"], found["preset"]) == ("compression", "digits")
    assert [(r["method"], r["seed"]) for r in found["runs"]] == [("none", 0), ("crd+kd", 0)]
    assert found["summary"]["crd+kd"]["probe_two"]["mean"] == 1.0 == found["teacher"]["probe_two"]
    report = (tmp_path / "out" / "report.md").read_text()
    for picture in ("methods", "curves", "correlation", "embeddings"):
        assert f"pictures/{picture}.png" in report
        assert (tmp_path / "out" / "pictures" / f"{picture}.png").stat().st_size > 1000
    assert "temperature=2" in (tmp_path / "out" / "config.yaml").read_text()
    assert str(tmp_path) not in (tmp_path / "out" / "results.json").read_text()

    again = run(*TINY, "--output", "out", folder=tmp_path)
    assert again.returncode == 1 and "--resume" in again.stderr


def test_killed_run_resumes_to_the_figures_of_an_undisturbed_one(
    tmp_path: Path, kill_in: Callable[..., None]
) -> None:
    whole = [*TINY, "--method", "crd", "--setting", "crd.num_negatives=32"]
    whole += ["--transfer.train.checkpoint-every", "0.3"]
    assert run(*whole, "--output", "calm", folder=tmp_path).returncode == 0
    stage = tmp_path / "hit" / "runs" / "crd" / "seed-0" / "transfer"
    kill_in(stage, SCRIPT.name, *whole, "--output", "hit", folder=tmp_path)
    done = run(*whole, "--output", "hit", "--resume", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    calm, hit = results(tmp_path / "calm"), results(tmp_path / "hit")
    assert hit["runs"] == calm["runs"]
    weights = "runs/crd/seed-0/student.safetensors"
    assert (tmp_path / "hit" / weights).read_bytes() == (tmp_path / "calm" / weights).read_bytes()


def test_imagenet_recipe_runs_on_a_folder_of_images(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    # Three whole batches, maps larger than a pixel, a gentle rate: the first steps of 0.1 can overflow.
    for split, count in (("train", 8), ("val", 3)):
        for label, name in enumerate(("n01", "n02", "n03")):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                image = rng.integers(0, 90, (50, 70, 3)) + 80 * label
                cv2.imwrite(str(folder / f"{i}.JPEG"), image.astype(np.uint8))
    torch.manual_seed(0)
    save_weights(create("torchvision/resnet18", num_classes=3), tmp_path / "teacher.safetensors")
    done = run(
        "imagenet-r34-r18",
        "--cpu",
        "--data.root",
        "images",
        "--data.size",
        "64",
        "--method",
        "crd+kd",
        *("--teacher.architecture", "resnet18", "--teacher.weights", "teacher.safetensors"),
        *("--setting", "crd.num_negatives=8", "--transfer.train.epochs", "1"),
        *("--transfer.train.batch-size", "8", "--transfer.train.lr", "0.01"),
        *("--transfer.train.num-workers", "2", "--output", "out"),
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert results(tmp_path / "out")["summary"]["crd+kd"]["top1"]["n"] == 1


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (("r32x4-r8x5",), "did you mean r32x4-r8x4"),
        (("--method", "crdd"), "'crdd'"),
        (("--setting", "kd.temprature=2"), "'temprature'"),
        (("--setting", "kd.temperature=warm"), "'warm'"),
        (("--student", "resnet9"), "'resnet9'"),
        (("r32x4-r8x4",), "cifar100"),
        (("r32x4-r8x4", "--data.root", "absent"), "absent"),
        (("--resume",), "--output"),
        (("--transfer.train.epochs", "0"), "epochs"),
    ],
)
def test_bad_use_is_answered_without_a_stack_trace(
    arguments: tuple[str, ...], value: str, tmp_path: Path
) -> None:
    done = run(*arguments, "--cpu", folder=tmp_path)
    assert done.returncode != 0
    assert value in done.stderr + done.stdout and "Traceback" not in done.stderr
