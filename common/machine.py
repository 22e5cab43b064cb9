"""What is kept for this user on this machine, beside any run."""

import os
import platform
from pathlib import Path


def cache_folder() -> Path:
    """`~/.cache/crdkit` (or below XDG_CACHE_HOME), made if it is missing.

    Raises:
        OSError: it cannot be made, there is no home folder, or others can write in it.
    """
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crdkit"
    except RuntimeError as error:
        raise OSError(f"there is no folder to keep anything in: {error}") from error
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if hasattr(os, "getuid"):
        place = folder.stat()
        if place.st_uid != os.getuid() or place.st_mode & 0o022:
            raise OSError(f"{folder} can be written by others")
    return folder


def processor() -> str:
    """The processor and what it can do, in the operating system's words: a home folder may be shared by
    machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return "\n".join(sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))}))


def free_memory() -> int | None:
    """Bytes of memory that may still be taken, what the system would give back included, and no more than a
    container's limit; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None
    try:
        return min(free, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="utf-8")))
    except (OSError, ValueError):  # no such limit, or "max"
        return free
