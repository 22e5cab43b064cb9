"""The SLURM script of docs/several-processes.md, on two "nodes" of this machine."""

import json
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

DOC = Path(__file__).resolve().parents[1] / "docs" / "several-processes.md"
SRUN = """#!/bin/bash
# Starts the command once for each node, at the same time, as SLURM would on machines of their own.
for node in $(seq "$SLURM_NNODES"); do "$@" & all="$all $!"; done
for one in $all; do wait "$one" || exit $?; done
"""
TINY = (
    "compress digits --cpu --data.classes 3 --teacher.architecture resnet8 --method crd --seed 0 "
    "--teacher.train.epochs 1 --teacher.train.warmup-epochs 0 "
    "--transfer.train.epochs 1 --transfer.train.warmup-epochs 0"
)


def test_the_slurm_script_trains_on_two_nodes_and_goes_on(tmp_path: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("no bash")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (script,) = re.findall(r"```sh\n(#!/bin/bash\n#SBATCH.*?)```", DOC.read_text(), flags=re.S)
    for old, new in (
        ("compress r32x4-r8x4 --data.root /shared/data", TINY),
        ("--nproc_per_node 4", "--nproc_per_node 1"),
        ("/shared/runs", str(tmp_path)),
        (":29500", f":{port}"),
    ):
        assert old in script
        script = script.replace(old, new)
    (tmp_path / "job.sh").write_text(script)
    (tmp_path / "bin").mkdir()
    for name, text in (("srun", SRUN), ("scontrol", "#!/bin/bash\nprintf '127.0.0.1\\n127.0.0.1\\n'\n")):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    slurm = {"SLURM_NNODES": "2", "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "both", "OMP_NUM_THREADS": "1"}
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"

    def submit() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "job.sh"],
            cwd=tmp_path,
            env={**os.environ, **slurm, "PATH": path},
            capture_output=True,
            text=True,
            timeout=600,
        )

    first = submit()
    assert first.returncode == 0, first.stderr[-3000:]
    results = tmp_path / "r32x4-r8x4" / "results.json"
    found = json.loads(results.read_text())
    assert found["environment"]["processes"] == 2 and len(found["runs"]) == 1
    assert "2 processes share every batch" in first.stderr + first.stdout
    again = submit()  # it exists, so it is continued: nothing is left to do
    assert again.returncode == 0, again.stderr[-3000:]
    assert json.loads(results.read_text())["runs"] == found["runs"]
