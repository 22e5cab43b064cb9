"""This machine: what it has, what its memory is asked for; and what is kept on it for this user."""

import ctypes
import os
import platform
import sys
from pathlib import Path

from .errors import UserError

_LARGE, _MADV_HUGEPAGE = 2**21, 14
UNASKED = 2**26
"""Bytes that are taken without a look at what is free."""
WORKERS_PER_CORE = 8


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def require_workers(number: int) -> None:
    """Raise `ValueError` for more loading processes than the cores could keep busy."""
    cores = available_cores()
    if number > WORKERS_PER_CORE * cores:
        raise UserError(
            f"num_workers={number} are {number} processes that load data, and {cores} cores are there: lower "
            f"it to {WORKERS_PER_CORE * cores} or fewer"
        )


def free_memory() -> int | None:
    """Bytes of memory that this process may still take; None if the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) * 1024
    except (OSError, ValueError, StopIteration):
        return None
    try:  # a container's share; what it caches of files would be given back
        group = Path("/sys/fs/cgroup")
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
        kept = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return min(free, limit - used + int(kept.get("inactive_file", 0)))
    except (OSError, ValueError):
        return free


def require_memory(size: int, what: str, remedy: str, *, free: int | None = None) -> None:
    """Raise `ValueError` with both figures if more bytes are asked for than are free.

    Args:
        what: takes them, for the message.
        remedy: what to lower.
        free: bytes, of another device; this process's memory if absent.
    """
    if size > UNASKED:
        left = free_memory() if free is None else free
        if left is not None and size > left:
            raise UserError(
                f"{what} would take {in_gib(size)}, and {in_gib(left)} of memory are free: {remedy}"
            )


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


def ask_large_pages(place: int, size: int) -> None:
    """Ask Linux for pages of 2 MiB behind memory that nobody has touched yet; nothing happens elsewhere.

    With small ones, rows drawn from some hundred MB miss the processor's table of pages each time.

    Args:
        place: address of the first byte.
        size: bytes.
    """
    first = -(-place // _LARGE) * _LARGE
    length = (place + size - first) // _LARGE * _LARGE
    if length > 0 and sys.platform == "linux":
        ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), _MADV_HUGEPAGE)


def in_gib(size: float) -> str:
    """Bytes as text for a person."""
    return f"{size / 2**30:,.1f} GiB"
