"""Where a figure came from: versions, commit, hardware, date."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "torchvision", "accelerate", "kornia", "numpy", "h5py", "opencv-python-headless")
ROOT = Path(__file__).resolve().parent.parent


def environment() -> dict[str, Any]:
    """What somebody needs to repeat a run, as plain JSON values.

    Keys: ``date`` (UTC, ISO 8601) · ``commit`` and ``dirty`` (None outside a git checkout of crdkit) ·
    ``python`` · ``platform`` · ``packages`` (name → version) · ``hardware`` with ``cpu``, ``cores``
    (those this process may use), ``threads`` (torch's, within an operator), ``memory_gib`` and
    ``gpus`` (names) · ``processes``, which share each batch.
    """
    import psutil
    import torch

    commit, dirty = revision(ROOT)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "dirty": dirty,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": {"crdkit": _version("crdkit")} | {name: _version(name) for name in PACKAGES},
        "hardware": {
            "cpu": cpu_model(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "threads": torch.get_num_threads(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
            "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        },
        "processes": int(os.environ.get("WORLD_SIZE", 1)),
    }


def revision(folder: Path) -> tuple[str | None, bool | None]:
    """Commit of the checkout whose top is ``folder``, and whether tracked files differ from it.

    (None, None) if ``folder`` is not the top of a git checkout: an installed package must not
    report the commit of whatever repository its virtual environment happens to lie in.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != folder.resolve():
            return None, None
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None, None


def cpu_model() -> str:
    """The processor's name, as the operating system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
