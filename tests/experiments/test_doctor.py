"""`crdkit doctor`: one page about what a run would meet, and the exit code."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from crdkit.data import evenly_spaced
from crdkit.experiments import cli
from crdkit.experiments.doctor import data, machine
from crdkit.experiments.doctor.finding import Finding, Findings
from crdkit.pipelines import Plan, PlannedTraining

TINY = [
    "--cpu",
    "--data.size",
    "48",
    "64",
    "--data.train-samples",
    "16",
    "--data.test-samples",
    "6",
    "--data.unlabeled-samples",
    "8",
    "--epochs",
    "1",
    "--transfer.cached-augmentations",
    "1",
]

Doctor = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Doctor:
    """Runs `crdkit doctor` in a folder of its own: (exit code, doctor.json, what was printed)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, dict[str, Any], str]:
        with pytest.raises(SystemExit) as stop:
            cli.main(["doctor", *arguments])
        content = {}
        for file in tmp_path.glob("runs/*/doctor.json"):
            content = json.loads(file.read_text())
        return int(stop.value.code or 0), content, capsys.readouterr().out

    return run


def levels(content: dict[str, Any], topic: str) -> list[str]:
    return [row["level"] for row in content["findings"] if row["topic"] == topic]


def texts(content: dict[str, Any], topic: str) -> str:
    return "\n".join(row["text"] for row in content["findings"] if row["topic"] == topic)


def write_pairs(root: Path, parts: dict[str, int], *, label: bool = True, seed: int = 0) -> None:
    generator = np.random.default_rng(seed)
    for part, count in parts.items():
        for row in range(count):
            coarse = generator.integers(0, 255, (6, 8, 3), dtype=np.uint8)
            rgb = cv2.resize(coarse, (64, 48), interpolation=cv2.INTER_CUBIC)
            files = {"rgb": rgb, "depth": 1000 + 4 * rgb[..., 0].astype(np.uint16)}
            if label and part != "unlabeled":
                files["label"] = (rgb[..., 0] > 128).astype(np.uint8)
            for name, image in files.items():
                (root / part / name).mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(root / part / name / f"{row:03}.png"), image)


def test_a_run_that_would_go_well(doctor: Doctor, tmp_path: Path) -> None:
    code, content, page = doctor("crossmodal", *TINY, "--method", "none", "crd-dense+fitnet")
    assert code == 0
    assert {row["level"] for row in content["findings"]} <= {"ok", "note"}
    assert texts(content, "samples") == "train 16, unlabeled 8, test 6"
    assert "train 0 to 1" in texts(content, "rgb") and "holes" in texts(content, "depth")
    assert "12 classes" in texts(content, "classes") and "wall" in texts(content, "classes")
    assert levels(content, "doubles") == ["ok", "ok"]
    assert "crd-dense+fitnet transfer: a step runs" in texts(content, "method")
    assert "teacher resnet18-0: a step runs" in texts(content, "teacher")
    names = [planned["label"] for planned in content["plan"]["trainings"]]
    assert sorted(names) == ["crd-dense+fitnet transfer", "segment", "teacher resnet18-0"]
    (folder,) = (tmp_path / "runs").iterdir()
    for name in ("pairs.png", "labels.png"):
        assert cv2.imread(str(folder / name)).shape[0] > 100
    assert f"0 problems, {sum(r['level'] == 'note' for r in content['findings'])} notes" in page
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_a_method_that_cannot_run_is_a_problem_and_the_others_are_tried(doctor: Doctor) -> None:
    code, content, _ = doctor("crossmodal", *TINY, "--method", "none", "fsp", "fitnet")
    assert code == 1
    (text,) = (r["text"] for r in content["findings"] if r["level"] == "problem")
    assert text.startswith("fsp")
    assert "fitnet transfer: a step runs" in texts(content, "method")
    assert levels(content, "time") == []


def test_files_that_cannot_be_read_are_a_problem(doctor: Doctor, tmp_path: Path) -> None:
    write_pairs(tmp_path / "mine", {"train": 6, "test": 4})
    (tmp_path / "mine/train/depth/003.png").unlink()
    given = ("--data.source", "folder", "--data.root", "mine", "--data.classes", "2", "--cpu")
    code, content, _ = doctor("crossmodal", *given)
    assert code == 1 and content["plan"] is None
    assert levels(content, "data") == ["problem"] and "003" in texts(content, "data")


def test_what_the_reader_guesses_and_warns_of_is_on_the_page(doctor: Doctor, tmp_path: Path) -> None:
    write_pairs(tmp_path / "mine", {"train": 16, "unlabeled": 4}, seed=1)
    write_pairs(tmp_path / "mine", {"test": 6}, seed=1)  # the first frames of train again
    given = [
        "--data.source",
        "folder",
        "--data.root",
        "mine",
        "--data.classes",
        "3",
        *TINY,
        "--method",
        "none",
    ]
    code, content, _ = doctor("crossmodal", *given)
    assert code == 0
    files = {row["text"]: row["level"] for row in content["findings"] if row["topic"] == "files"}
    guess = next(text for text in files if text.startswith("depth: millimeters (guessed"))
    assert files[guess] == "ok" and "uint16" in guess
    assert files["no pixel of train is of class 2: nobody can learn them"] == "note"
    (doubles,) = (text for text in files if text.startswith("6 of 6 frames of test"))
    assert files[doubles] == "note"
    assert levels(content, "doubles") == []  # told once


def test_doubles_of_other_sources_are_found(doctor: Doctor, tmp_path: Path) -> None:
    for part, seed in (("train", 3), ("test", 3)):
        generator = np.random.default_rng(seed)
        for number in range(12):
            coarse = generator.integers(0, 255, (5, 6, 3), dtype=np.uint8)
            file = tmp_path / "images" / part / "ab"[number % 2] / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), cv2.resize(coarse, (80, 80), interpolation=cv2.INTER_CUBIC))
    given = ["--data.source", "folder", "--data.root", "images", "--data.size", "64", "--method", "none"]
    code, content, _ = doctor("compress", *given, "--cpu", "--epochs", "1", "--student", "resnet8")
    assert code == 0
    assert levels(content, "doubles") == ["note"] and texts(content, "doubles").startswith("12 of 12")
    assert texts(content, "classes").startswith("train: 2 classes of 6 samples")


def test_compression_and_ensembles_are_examined(doctor: Doctor, tmp_path: Path) -> None:
    small = ["--cpu", "--epochs", "1", "--data.classes", "3", "--method", "none", "crd"]
    code, content, _ = doctor("compress", *small)
    assert code == 0 and "crd transfer: a step runs" in texts(content, "method")
    assert "memories of" in texts(content, "method")
    assert list(tmp_path.glob("runs/doctor-compress-*/images.png"))
    code, content, _ = doctor("ensemble", *small, "--teachers", "2")
    assert code == 0


@pytest.mark.parametrize(
    ("arguments", "code"), [([], 2), (["--help"], 0), (["probe"], 2), (["crossmodal", "--metod", "kd"], 2)]
)
def test_usage(doctor: Doctor, arguments: list[str], code: int) -> None:
    assert doctor(*arguments)[0] == code


def test_too_little_disk_and_memory_are_problems(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    device = torch.device("cpu")
    transfer: Any = SimpleNamespace(cache_limit=1.0, cache=None, cache_on="auto")
    plan = Plan(
        [PlannedTraining("kd transfer", "transfer", 1, 10, 5, 1.0, 2**20, 0)],
        cache_bytes=2**21,
        memory_bytes=2**20,
    )

    def found() -> dict[str, str]:
        findings = Findings(quiet=True)
        machine.examine_space(findings, plan, transfer, device, tmp_path)
        return {one.topic: one.level for one in findings.made}

    assert found() == {"memory": "ok", "disk": "ok"}
    monkeypatch.setattr(machine, "free_disk", lambda folder: 2**20 - 1)
    assert found() == {"memory": "ok", "disk": "problem"}
    monkeypatch.setattr(machine, "free_disk", lambda folder: 2**20 + 1)
    assert found()["disk"] == "note"
    transfer.cache_on = "disk"  # beside what the run leaves
    assert found()["disk"] == "problem"
    plan.memory_bytes = 2**60
    assert found()["memory"] == "problem"


def test_slow_reading_is_noted(tmp_path: Path) -> None:
    class Slow(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, row: int) -> dict[str, torch.Tensor]:
            torch.randn(200, 200).matrix_exp()
            return {"index": torch.tensor(row), "rgb": torch.zeros(3, 4, 4)}

    def level(seconds: float, workers: int) -> str:
        train: Any = SimpleNamespace(batch_size=4, num_workers=workers)
        planned = PlannedTraining("kd transfer", "transfer", 1, 1, 5, seconds, 0, 0)
        findings = Findings(quiet=True)
        machine.examine_loading(findings, Plan([planned]), Slow(), train)
        return findings.made[0].level

    assert level(1e-6, 0) == "note" and level(1e3, 0) == "ok"


def test_constant_and_empty_modalities_are_problems() -> None:
    findings = Findings(quiet=True)
    empty = torch.full((2, 1, 4, 4), torch.nan)
    holes = torch.where(torch.arange(16).view(1, 1, 4, 4) < 12, 0.0, 1 + torch.rand(2, 1, 4, 4))
    batch = {"thermal": empty, "rgb": torch.full((2, 3, 4, 4), 0.5), "depth": holes}
    data._ranges(findings, {"train": batch})
    assert {one.topic: one.level for one in findings.made} == {
        "thermal": "problem",
        "rgb": "problem",
        "depth": "note",
    }


def test_rows_are_spread_over_the_whole() -> None:
    assert evenly_spaced(3, 8) == [0, 1, 2]
    assert evenly_spaced(101, 5) == [0, 25, 50, 75, 100]
    assert evenly_spaced(1, 4) == [0]


def test_a_finding_is_wrapped_and_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    found = Findings()
    for _ in range(2):
        found.add("problem", "disk", "word " * 40)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("PROBLEM  disk") and len(printed) == 3
    assert max(map(len, printed)) <= 110
    assert found.as_rows() == [{"level": "problem", "topic": "disk", "text": "word " * 40}]
    assert found.count("problem") == 1 and found.made == [Finding("problem", "disk", "word " * 40)]
