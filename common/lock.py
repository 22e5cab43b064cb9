"""One process writes in a folder: a lock that the kernel frees, however its holder ends."""

import contextlib
import errno
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO

from .errors import OutputError

LOCK = ".lock"
BUSY = (errno.EACCES, errno.EAGAIN)

_held: set[tuple[int, Path]] = set()
"""(process, folder): to the kernel, a lock is the whole process's."""


@contextmanager
def hold(folder: Path, *, fresh: bool = False) -> Iterator[None]:
    """Keep a folder for this process. If it is missing it is made, and goes again if it is left empty.

    The lock is one of `fcntl`: no child inherits it, and where hosts share a disk it holds among them, too.
    If that disk has no locks, or the holder before was on another host, a warning says so.

    Args:
        fresh: whether it must be missing.

    Raises:
        OutputError: another process holds it, which is named; or it cannot be written.
    """
    own = (os.getpid(), folder.absolute())
    if own in _held:
        raise OutputError(f"{folder} is in use by this process: name another folder")
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=not fresh)
        file = _lock(folder)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from error
    _held.add(own)
    try:
        yield
    finally:
        _held.discard(own)
        with contextlib.suppress(OSError):  # before the lock goes: what another made would go
            (folder / LOCK).unlink()
        file.close()
        with contextlib.suppress(OSError):
            for place in made:
                place.rmdir()


def require_free(folder: Path) -> None:
    """Raise `OutputError` that names the process, another one, that holds a folder, if one does."""
    if (os.getpid(), folder.absolute()) not in _held:
        with contextlib.suppress(OSError), (folder / LOCK).open(encoding="utf-8") as file:
            _take(file, folder, shared=True)


def is_empty(folder: Path) -> bool:
    """Whether nothing is in a folder but a lock."""
    return all(path.name == LOCK for path in folder.iterdir())


def _lock(folder: Path) -> IO[str]:
    """The lock file, locked, with the name of this process in it."""
    path, host = folder / LOCK, socket.gethostname()
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            before = _take(file, folder)
            found = os.stat(path) if path.exists() else None
        except BaseException:
            file.close()
            raise
        # Its holder may have deleted it in between: then it is not the one that others find.
        if found is not None and os.path.samestat(found, os.fstat(file.fileno())):
            break
        file.close()
    if before and f" on {host} " not in before:
        warnings.warn(
            f"{folder} was left by {before}, another host: stop it if it still runs there", stacklevel=4
        )
    file.truncate(0)
    file.write(f"process {os.getpid()} on {host} since {datetime.now():%Y-%m-%d %H:%M:%S}\n")
    file.flush()
    return file


def _take(file: IO[str], folder: Path, *, shared: bool = False) -> str:
    """Lock an open file and return what its last holder wrote; `OutputError` if another process has it."""
    file.seek(0)
    before = file.read().strip()
    if sys.platform == "win32":
        return before
    import fcntl

    try:
        fcntl.lockf(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in BUSY:
            warnings.warn(
                f"{folder} cannot be locked ({error.strerror}): start no second run in it", stacklevel=5
            )
            return ""
        where = "" if f" on {socket.gethostname()} " in before else " (another host that shares this disk)"
        raise OutputError(
            f"{folder} is in use by {before or 'another process'}{where}: wait for it, or name another folder"
        ) from None
    return before
