"""Every pipeline on two ranks: it ends, all ranks hold the same, and the students are those of one rank."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

SCRIPT = Path(__file__).with_name("two_ranks.py")


def launch(ranks: int, folder: Path) -> dict[str, Any]:
    folder.mkdir()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
    done = subprocess.run(
        [*command, str(SCRIPT), str(folder)],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads((folder / "found.json").read_text())
    assert found.pop("ranks") == ranks
    assert [(folder / f"left-{rank}").exists() for rank in range(ranks)] == [True] * ranks
    return found


def test_two_ranks_end_with_the_same_bits_and_the_weights_of_one(tmp_path: Path) -> None:
    one, two = launch(1, tmp_path / "one"), launch(2, tmp_path / "two")
    assert one.keys() == two.keys() and len(one) == 7
    for name, found in two.items():
        assert found["same"], name
        assert found["metrics"].keys() == one[name]["metrics"].keys()
        # Images far from any boundary are judged alike; probes of a dozen images would be no measure.
        if name.startswith(("compression", "ensemble")):
            assert found["metrics"] == pytest.approx(one[name]["metrics"], rel=1e-3, abs=1e-3)
    students = {path.relative_to(tmp_path / "one"): path for path in (tmp_path / "one").rglob("student.*")}
    for name, path in students.items():
        other = load_file(tmp_path / "two" / name)
        for key, value in load_file(path).items():
            torch.testing.assert_close(
                other[key], value, rtol=1e-5, atol=1e-5, msg=lambda text, at=f"{name}: {key}": f"{at}: {text}"
            )
    assert len(students) == 7


def test_each_rank_mixes_its_own_share_and_all_hold_the_same_average(tmp_path: Path) -> None:
    """That averages have the same bits is asked at the end of a training (`require_same_everywhere`)."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*command, str(SCRIPT.with_name("mixed_ranks.py")), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    first, second = (json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in (0, 1))
    assert first["held"] == second["held"] and len(first["held"]) == 3
    assert len(first["shares"]) == len(second["shares"]) and first["shares"] != second["shares"]
    for method in first["held"]:
        assert (tmp_path / f"runs/{method}/seed-0/transfer/model-ema.safetensors").exists()
        assert (tmp_path / f"runs/{method}/seed-0/student-ema.safetensors").exists()
