"""What the accelerator's making changes of the process."""

import os
import subprocess
import sys

import pytest

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


def faults(**environment: str) -> int:
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", STEPS], env=kept | environment, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(not hasattr(os, "confstr") or "glibc" not in str(os.confstr("CS_GNU_LIBC_VERSION")),
                    reason="speaks of glibc's allocator")  # fmt: skip
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
