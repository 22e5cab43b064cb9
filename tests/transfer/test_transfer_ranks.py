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
        [*command, str(SCRIPT), str(folder)], capture_output=True, text=True, timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
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
