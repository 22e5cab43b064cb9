"""What the accelerator's making changes of the process."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_training import alive

from crdkit.engine.launch import SIZES, WISH, lacking_processes

STEPS = """
import resource
import torch
from crdkit.engine import make_accelerator

make_accelerator(cpu=True)
for _ in range(20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    temporaries = [torch.ones(2**21) for _ in range(6)]
    del temporaries
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
"""Steps that take and free 48 MiB; the last one's page faults, of which there are 12,288 if all is given
back."""


WAITING = """
import os
from crdkit.engine import make_accelerator

print(os.getpid(), flush=True)
make_accelerator(cpu=True)
print("met", flush=True)
"""
"""A rank that looks for another one, in vain."""
LATE = WAITING.replace("import os\n", "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(3)\n", 1)
"""One whose launcher is dead before it begins to look."""
LAUNCHER = """
import subprocess, sys

rank = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, text=True)
print(rank.stdout.readline(), flush=True)
rank.wait()
"""


@pytest.mark.parametrize("program", [WAITING, LATE], ids=["waiting", "late"])
def test_a_launcher_that_dies_while_its_ranks_look_for_one_another_leaves_none(program: str) -> None:
    if program is LATE and b"python" in Path("/proc/1/cmdline").read_bytes():
        pytest.skip("orphans are left to a process that may be a launcher")
    with socket.socket() as silent:  # takes the call, and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(silent.getsockname()[1])}
        ranks = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "none"}
        launcher = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, program],
            env={**os.environ, **meeting, **ranks},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert launcher.stdout is not None
        rank = int(launcher.stdout.readline())
        time.sleep(2.0)
        assert launcher.poll() is None and alive(rank)
        launcher.kill()
        launcher.wait()
        deadline = time.monotonic() + 60
        while alive(rank) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not alive(rank)


def faults(**environment: str) -> int:
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", STEPS], env=kept | environment, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(
    not hasattr(os, "confstr") or "glibc" not in str(os.confstr("CS_GNU_LIBC_VERSION")),
    reason="speaks of glibc's allocator",
)
def test_freed_memory_is_kept_for_the_next_step_unless_the_user_says_otherwise() -> None:
    assert faults() < 1000
    assert faults(MALLOC_TRIM_THRESHOLD_="131072") > 10_000


@pytest.mark.parametrize(
    ("variables", "world_size", "said"),
    [
        ({}, 1, ""),
        ({"WORLD_SIZE": "2"}, 2, ""),
        ({"SLURM_STEP_NUM_TASKS": "2", "WORLD_SIZE": "8"}, 8, ""),
        ({"MASTER_ADDR": "host"}, 1, ""),
        ({"ACCELERATE_MIXED_PRECISION": "no"}, 1, ""),
        (
            {"ACCELERATE_MIXED_PRECISION": "no", "MASTER_ADDR": "host"},
            1,
            "several processes, but this one trains",
        ),
        ({"SLURM_STEP_NUM_TASKS": "4"}, 1, "4 processes, but this one trains alone"),
        ({"OMPI_COMM_WORLD_SIZE": "4", "WORLD_SIZE": "2"}, 2, "4 processes, but 2 train together"),
    ],
)
def test_a_launcher_that_starts_fewer_processes_is_told(
    variables: dict[str, str], world_size: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*SIZES, WISH, "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    text = lacking_processes(world_size)
    assert said in text and bool(text) == bool(said)
    assert not said or "torchrun --nproc_per_node" in text
