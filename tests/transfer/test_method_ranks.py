"""Every method on two ranks with shared batch-norm statistics: after 20 steps the weights of one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import Tensor

from crdkit.distillers import JOINT, METHODS

SCRIPT = Path(__file__).with_name("method_ranks.py")


@pytest.fixture(scope="module")
def students(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Tensor]]]:
    """Of one process and of two: the weights by method."""
    found = []
    for ranks in (1, 2):
        folder = tmp_path_factory.mktemp(f"ranks{ranks}")
        launcher = ["torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
        done = subprocess.run(
            [sys.executable, "-m", *launcher, str(SCRIPT), str(folder)],
            capture_output=True,
            text=True,
            timeout=1800,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr[-4000:]
        files = folder.rglob("student.safetensors")
        found.append({path.parts[path.parts.index("runs") + 1]: load_file(path) for path in files})
    return found


@pytest.mark.parametrize("method", [*METHODS, *JOINT, "crd+kd"])
def test_two_ranks_train_as_one(method: str, students: list[dict[str, dict[str, Tensor]]]) -> None:
    one, two = (found[method] for found in students)
    assert one.keys() == two.keys()
    for name, expected in one.items():
        if expected.is_floating_point():
            error = (two[name] - expected).norm() / expected.norm().clamp_min(1e-3)
            assert error < 1e-5, f"{name}: {error:.1e}"
        else:
            assert (two[name] == expected).all(), name
