"""What a command changes of its whole process; the library itself changes nothing."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from functools import cache
from pathlib import Path

from .invocation import is_launched

POLL_SECONDS = 0.5
"""Seconds between two checks whether the launcher is alive."""


def prepare_process() -> None:
    """Set the allocator and watch the launcher; call it once, before the ranks of a run connect."""
    keep_freed_memory()
    end_with_launcher()


def keep_freed_memory() -> None:
    """Let glibc keep up to 256 MiB that a step frees for the next one (`mallopt(3)`).

    By default this depends on the largest block ever freed: a run whose temporaries of a few MiB are returned
    to the system in every step has each page zeroed again, at a quarter of its speed.
    """
    chosen = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None and not chosen:
        mallopt(-3, 32 << 20)  # M_MMAP_THRESHOLD, at its largest
        mallopt(-1, 256 << 20)  # M_TRIM_THRESHOLD


@cache
def end_with_launcher() -> None:
    """Send SIGTERM to this process when its launcher dies, whatever it waits for.

    Ranks that look for one another would otherwise wait for half an hour for a launcher that is gone.
    """
    if not is_launched():
        return
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent and not _is_reaper(parent):
            time.sleep(POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="launcher").start()


def use_tensor_cores() -> None:
    """Compute fp32 matrix products in TF32, on GPUs that have it."""
    import torch

    torch.set_float32_matmul_precision("high")


def _is_reaper(number: int) -> bool:
    """Whether a process is the one that adopts orphans: the launcher was dead before the first check."""
    try:
        place = Path(f"/proc/{number}")
        return (number == 1 or place.joinpath("comm").read_text().strip() == "systemd") and (
            b"python" not in place.joinpath("cmdline").read_bytes()
        )
    except OSError:
        return False
