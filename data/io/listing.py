"""The files of a folder."""

import unicodedata
from collections.abc import Iterable
from pathlib import Path

from ..batch import DataError


def list_files(folder: Path, suffixes: Iterable[str], *, recursive: bool = True) -> dict[str, Path]:
    """Relative path without ending to file, hidden ones left out. `DataError` for doubles and empty files."""
    files: dict[str, Path] = {}
    problems = []
    for path in sorted(folder.rglob("*") if recursive else folder.iterdir()):
        relative = path.relative_to(folder)
        if path.suffix.lower() not in suffixes or any(part.startswith(".") for part in relative.parts):
            continue
        key = unicodedata.normalize("NFC", relative.with_suffix("").as_posix())
        if key in files:
            problems.append(f"{files[key].name} and {path.name} have the same name")
        if not path.stat().st_size:
            problems.append(f"{relative} is empty")
        files[key] = path
    if problems:
        raise DataError(f"{folder}: " + "; ".join(problems))
    return files
