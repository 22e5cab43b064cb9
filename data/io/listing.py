"""The files of a folder as a data set has them: no hidden ones, no loops, named in one way."""

import os
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path

from ..batch import DataError

LEFT_BEHIND = frozenset({"__MACOSX", "@eaDir", "Thumbs.db"})
"""What archivers, network storage and file managers leave beside data; most begin with a dot."""
SHOWN = 5
"""Problems and names that a message lists before it counts the rest."""


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is none of the data: `._x`, `.ipynb_checkpoints`, `Thumbs.db`."""
    return name.startswith(".") or name in LEFT_BEHIND


def some(names: Sequence[str]) -> str:
    """The first names, and how many more."""
    more = len(names) - SHOWN
    return ", ".join(islice(names, SHOWN)) + (f" and {more} more" if more > 0 else "")


def walk_files(folder: Path, *, recursive: bool = True) -> Iterator[str]:
    """Paths below `folder` with forward slashes, in no order; links are followed, hidden names skipped.

    Raises:
        DataError: a folder that cannot be read, a link to a folder that it is in itself.
    """
    yield from _walk(str(folder), "", (), recursive)


def _walk(folder: str, below: str, above: tuple[tuple[int, int], ...], recursive: bool) -> Iterator[str]:
    try:
        status = os.stat(folder)
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.is_dir()) for entry in entries if not is_hidden(entry.name)]
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error})") from error
    here = (status.st_dev, status.st_ino)
    if here in above:
        raise DataError(
            f"{folder} links to a folder that it is in ({os.path.realpath(folder)}); remove the link"
        )
    for name, is_folder in found:
        if not is_folder:
            yield below + name
        elif recursive:
            yield from _walk(os.path.join(folder, name), f"{below}{name}/", (*above, here), recursive)


def list_files(folder: Path, suffixes: Collection[str], *, recursive: bool = True) -> dict[str, Path]:
    """The files of a folder by key: the path below it without its ending, in Unicode NFC, sorted by key.

    Args:
        folder: where they are.
        suffixes: endings in lower case, such as `.png`; those of files may be in any case.
        recursive: also those in folders below, whose keys have forward slashes (`kitchen/0001`).

    Raises:
        DataError: no such folder (those beside it are listed), no file, a link loop; all at once: files of
            one key, empty files, links to nothing (the first are listed, the rest counted).
    """
    if not folder.is_dir():
        beside = sorted(path.name for path in folder.parent.iterdir()) if folder.parent.is_dir() else []
        raise DataError(f"{folder}: no such folder; {folder.parent} has {some(beside) or 'nothing'}")
    files: dict[str, Path] = {}
    twice: list[str] = []
    empty: list[str] = []
    broken: list[str] = []
    for name in sorted(walk_files(folder, recursive=recursive)):
        stem, suffix = os.path.splitext(name)
        if suffix.lower() not in suffixes:
            continue
        path, key = folder / name, unicodedata.normalize("NFC", stem)
        if key in files:
            twice.append(f"{files[key].relative_to(folder)} and {name}")
        files.setdefault(key, path)
        try:
            if not path.stat().st_size:
                empty.append(name)
        except OSError:
            broken.append(name)
    problems = {"two files of one name": twice, "empty files": empty, "links to nothing": broken}
    if any(problems.values()):
        listed = "; ".join(
            f"{len(names)} × {what}: {some(names)}" for what, names in problems.items() if names
        )
        raise DataError(f"{folder} has {listed}")
    if not files:
        raise DataError(f"{folder} has no files of these endings: {', '.join(sorted(suffixes))}")
    return dict(sorted(files.items()))
