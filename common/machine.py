"""What is kept for this user on this machine, beside any run; and what its memory is asked for."""

import ctypes
import os
import platform
import sys
from pathlib import Path

_LARGE, _MADV_HUGEPAGE = 2**21, 14


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
