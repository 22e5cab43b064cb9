"""Files and folders that are whole or absent: written beside their place, flushed to the disk, renamed."""

import contextlib
import hashlib
import json
import math
import os
import shutil
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import OutputError


@contextlib.contextmanager
def atomically(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path to write a file, or to make a folder with files, that takes the place of `path` if nothing
    fails.

    The path has the same ending and lies in a hidden folder beside `path`, whose parents are made. What is
    written there is flushed and renamed at the end; after an error, or a kill, `path` is as it was. A file
    has the permissions that the umask gives, whatever wrote it. A folder must not exist at `path` before.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.parent / f".tmp-{path.name}-{uuid.uuid4().hex[:8]}"
    try:
        hidden.mkdir()
        made = hidden / path.name
        yield made
        if made.is_dir():
            os.rename(made, path)
        else:
            # Some libraries make files that only the owner may read.
            (hidden / "mode").touch()
            made.chmod((hidden / "mode").stat().st_mode)
            flush(made)
            os.replace(made, path)
        flush(path.parent)
    except OSError as error:
        if error.filename is None and error.errno is not None:  # a full disk does not say of which file
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file, whole or not at all."""
    with atomically(path) as made:
        made.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write JSON, whole or not at all; see `to_json`."""
    write_text(path, to_json(value, path, indent=1) + "\n")


def to_json(value: Any, place: object, *, indent: int | None = None) -> str:
    """JSON text, with null for NaN and infinity, which JSON has not; a warning names `place`, its file."""
    try:
        return json.dumps(value, indent=indent, allow_nan=False)
    except ValueError:
        found: list[str] = []
        text = json.dumps(_finite(value, "", found), indent=indent, allow_nan=False)
        warnings.warn(
            f"{Path(str(place)).name}: null for what is NaN or infinite: {', '.join(found[:8])}", stacklevel=3
        )
        return text


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush(path: Path) -> None:
    """Make a file's contents, or a folder's entries, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def free_disk(folder: Path) -> int:
    """Bytes that are free where a folder is or would be."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def used_disk(folder: Path) -> int:
    """Bytes of all files below a folder, which other processes may be writing: what they rename or delete
    meanwhile is passed over."""
    total = 0
    for place, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(os.path.join(place, name)).st_size
    return total


def require_space(folder: Path, size: int, remedy: str) -> None:
    """Raise `OutputError` with a remedy if the disk where `folder` is, or would be, has not `size` bytes."""
    free = free_disk(folder)
    if free < size:
        raise OutputError(
            f"{size / 2**20:.0f} MiB are needed and {folder} has {free / 2**20:.0f} free: {remedy}"
        )


def _finite(value: Any, name: str, found: list[str]) -> Any:
    """The value with None for numbers that are not finite, whose names are added to `found`."""
    if isinstance(value, dict):
        return {key: _finite(item, f"{name}.{key}".lstrip("."), found) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item, f"{name}[{place}]", found) for place, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        found.append(f"{name} {value}")
        return None
    return value
