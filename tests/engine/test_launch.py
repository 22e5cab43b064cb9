"""What the accelerator's making changes of the process."""

import os
import subprocess
import sys

import pytest

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
