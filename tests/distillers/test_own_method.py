"""A maker of your own, registered under a name that is not built in, through the real command line."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
from typing import Annotated, Literal

from crdkit.common import Gt
from crdkit.distillers import METHODS, SelectOutputs, StatelessLoss, Term
from crdkit.experiments.compress import main
from torch.nn import functional

WEIGHTS = []


def make_mine(
    spec, *, weight: Annotated[float, Gt(0)] = 1.0, distance: Literal["l1", "l2"] = "l1"
) -> Term:
    WEIGHTS.append((weight, distance))
    loss = functional.l1_loss if distance == "l1" else functional.mse_loss
    return Term(SelectOutputs("logits"), StatelessLoss(loss), weight=weight)


assert "mine" not in METHODS
METHODS["mine"] = make_mine
main(sys.argv[1:])
assert set(WEIGHTS) == {(2, "l2")}, WEIGHTS
"""

BASE = ["--cpu", "--data.classes", "3", "--teacher.architecture", "resnet8", "--student", "resnet8"]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = folder / "mine.py"
    script.write_text(SCRIPT)
    words = [sys.executable, str(script), *BASE, *arguments]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=600)


def test_it_runs_with_its_settings(tmp_path: Path) -> None:
    settings = ("--setting", "mine.weight=2", "mine.distance=l2")
    done = run(tmp_path, "--method", "none", "mine", *settings, "--epochs", "1", "--output", "out")
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [entry["method"] for entry in results["runs"]] == ["none", "mine"]
    student, other = (
        [tensors.read_bytes() for tensors in (tmp_path / "out" / "runs" / name).rglob("student*.safetensors")]
        for name in ("none", "mine")
    )
    assert student and other and student != other


def test_what_its_signature_does_not_permit_is_one_line(tmp_path: Path) -> None:
    refused = {
        "mine.wieght=2": "mine has no setting 'wieght': did you mean weight",
        "mine.weight=0": "mine.weight must be positive, got 0",
        "mine.distance=l3": "mine.distance must be one of l1, l2, got 'l3'",
    }
    for setting, message in refused.items():
        done = run(tmp_path, "--method", "mine", "--setting", setting, "--output", "out")
        assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
        assert not (tmp_path / "out").exists()
    listed = run(tmp_path, "--list", "methods")
    assert "mine" in listed.stdout and "distance=l1" in listed.stdout
