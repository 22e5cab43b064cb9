"""Which files of a folder belong to one sample: by name, by pattern, by time, or by a table."""

import bisect
import csv
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ..common import nearest
from ..data import DataError
from ..data.io.files import SUFFIXES
from ..data.io.listing import list_files, some

Files = dict[str, Path]
"""Name of a sample to its file."""


@dataclass(frozen=True)
class Found:
    """The samples that were found, and what was left over."""

    files: dict[str, Files]
    """Modality to its files; all modalities have the same names in the same order."""
    parents: dict[str, str]
    """Name of a sample to the folder of its first modality's file, below that modality's own."""
    unmatched: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Modality to the names that have no partner in time."""
    columns: dict[str, dict[str, str]] = field(default_factory=dict)
    """Name of a sample to the further columns of its line, for a table."""


def find_pairs(root: Path, modalities: Mapping[str, str], *, tolerance: float | None = None) -> Found:
    """The samples below `root`: a file in every modality.

    Args:
        modalities: each to a folder, whose files pair by relative path without ending; or to a regular
            expression over paths below `root`, with capture groups, whose contents pair (`{a,b}` is either).
        tolerance: in place of equal names, the nearest ones as times: how far apart they may be, in the
            names' unit (seconds, as a rule). The last number of a file's name, or of what a pattern captures,
            is its time; partners lie in folders of one name.

    Raises:
        DataError: a folder that is missing or has no images; files without partner (not by time), two for
            one name, empty ones: all of them in one message.
    """
    files: dict[str, Files] = {}
    problems: list[str] = []
    for name, place in modalities.items():
        try:
            files[name] = (
                _by_pattern(root, place) if _is_pattern(root, place) else list_files(root / place, SUFFIXES)
            )
        except DataError as error:
            problems.append(str(error))
    first = next(iter(modalities))
    unmatched: dict[str, tuple[str, ...]] = {}
    if tolerance is None:
        every = set().union(*files.values())
        lacking = [
            f"{modalities[modality]} ({len(found)} files) lacks {some(sorted(every - found.keys()))}"
            for modality, found in files.items()
            if every - found.keys()
        ]
        if lacking:
            problems.append("the modalities do not pair by name: " + "; ".join(lacking))
    elif not problems:
        files, unmatched = match_times(files, tolerance)
    if problems:
        raise DataError("; ".join(problems))
    names = sorted(files[first])
    ordered = {modality: {name: found[name] for name in names} for modality, found in files.items()}
    below = root if _is_pattern(root, modalities[first]) else root / modalities[first]
    parents = {name: path.relative_to(below).parent.as_posix() for name, path in ordered[first].items()}
    return Found(ordered, parents, unmatched)


def match_times(
    files: Mapping[str, Files], tolerance: float
) -> tuple[dict[str, Files], dict[str, tuple[str, ...]]]:
    """Files of each modality by the nearest time, under the names of the first; and the names left over.

    Pairs of the first modality with another are taken from the closest on, and each file once, as TUM's
    `associate.py` does. A sample needs a partner in every modality.

    Raises:
        DataError: a name without number, no sample at all.
    """
    first, *others = files
    times = {modality: {name: _time(name) for name in found} for modality, found in files.items()}
    partners = {modality: _nearest(times[first], times[modality], tolerance) for modality in others}
    kept = [name for name in files[first] if all(name in found for found in partners.values())]
    if not kept:
        raise DataError(
            f"no {first} has a partner within {tolerance:g} of its time in every modality; the first names "
            + ", ".join(f"of {name}: {some(sorted(found))}" for name, found in files.items())
        )
    matched = {first: {name: files[first][name] for name in kept}}
    unmatched = {first: tuple(sorted(files[first].keys() - set(kept)))}
    for modality in others:
        partner = partners[modality]
        matched[modality] = {name: files[modality][partner[name]] for name in kept}
        used = {partner[name] for name in kept}
        unmatched[modality] = tuple(sorted(files[modality].keys() - used))
    return matched, {modality: names for modality, names in unmatched.items() if names}


def read_table(path: Path, modalities: Iterable[str] | None, split: str | None, group: str | None) -> Found:
    """The samples of a CSV or JSONL file: a column for each modality, with paths relative to the file.

    Args:
        modalities: the columns to use; None for all but `group` and `split`, those without an entry left out.
        split: only the lines whose column `split` has this value.
        group: the column of the group, which is no modality; or something else.

    Raises:
        DataError: a file that is no table, columns that are missing, no line of the split; paths that are
            missing, absent, empty files or used twice: all of them in one message.
    """
    lines = _lines(path)
    columns = list(dict.fromkeys(key for line in lines for key in line))
    for column in [*(modalities or ()), *(["split"] if split is not None else [])]:
        if column not in columns:
            raise DataError(f"{path} has no column {column!r}; {nearest(column, columns)}")
    if split is not None:
        present = sorted({line.get("split", "") for line in lines})
        lines = [line for line in lines if line.get("split") == split]
        if not lines:
            raise DataError(f"{path}: no line of split {split!r}; {nearest(split, present)}")
    if modalities is None:
        chosen = [c for c in columns if c not in ("split", "group", group) and any(x.get(c) for x in lines)]
    else:
        chosen = list(modalities)
    if not chosen or not lines:
        raise DataError(f"{path} has no paths; a table has a column for each modality and a line a sample")
    files: dict[str, Files] = {modality: {} for modality in chosen}
    problems: list[str] = []
    names = [line.get(chosen[0], "") or f"line {number}" for number, line in enumerate(lines, 1)]
    for modality in chosen:
        used: set[str] = set()
        for name, line in zip(names, lines, strict=True):
            entry = line.get(modality, "")
            file = path.parent / entry
            if not entry:
                problems.append(f"{name} has no {modality}")
            elif entry in used:
                problems.append(f"{modality} {entry} is named twice")
            elif not file.is_file() or not file.stat().st_size:
                problems.append(f"{file} is {'empty' if file.is_file() else 'missing'}")
            used.add(entry)
            files[modality][name] = file
    if problems:
        raise DataError(f"{path}: {some(problems)}")
    parents = {name: PurePosixPath(name).parent.as_posix() for name in names}
    return Found(files, parents, columns=dict(zip(names, lines, strict=True)))


def table_parts(path: Path) -> dict[str, frozenset[str]]:
    """The values of a table's column `split` ("" for lines without one), each with the columns that have
    entries there.

    Raises:
        DataError: a file that is no table.
    """
    parts: dict[str, set[str]] = {}
    for line in _lines(path):
        parts.setdefault(line.get("split", ""), set()).update(key for key, entry in line.items() if entry)
    return {part: frozenset(columns) for part, columns in parts.items()}


def _is_pattern(root: Path, place: str) -> bool:
    return "(" in place and not (root / place).is_dir()


def _by_pattern(root: Path, pattern: str) -> Files:
    """Files below `root` whose whole path matches, by what the groups capture."""
    try:
        expression = re.compile(re.sub(r"\{([^{}]*)\}", _either, unicodedata.normalize("NFC", pattern)))
    except re.error as error:
        raise DataError(f"{pattern!r} is no regular expression: {error}") from error
    if not expression.groups:
        raise DataError(f"{pattern!r} has no capture group (…), which says what files have in common")
    # Only what can match is listed: below the folders that the pattern names, of its ending.
    folder = root
    for part in pattern.split("/")[:-1]:
        if re.escape(part).replace("\\-", "-") != part:
            break
        folder = folder / part
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder, for {pattern!r}")
    files: Files = {}
    doubles: list[str] = []
    listed = list_files(folder, frozenset(s for s in SUFFIXES if pattern.endswith(s)) or SUFFIXES)
    for path in listed.values():
        relative = unicodedata.normalize("NFC", path.relative_to(root).as_posix())
        if found := expression.fullmatch(relative):
            key = "/".join(group for group in found.groups() if group is not None)
            if key in files:
                doubles.append(f"{files[key].relative_to(root)} and {path.relative_to(root)}")
            files[key] = path
    if doubles:
        raise DataError(f"{pattern!r} finds two files of one name: {some(doubles)}")
    if not files:
        raise DataError(f"{pattern!r} matches no image below {root}")
    return files


def _either(braces: re.Match[str]) -> str:
    """`{left,right}` as a regular expression; `{2,4}` already is one."""
    content = braces[1]
    if "," not in content or re.fullmatch(r"[\d,]*", content):
        return braces[0]
    return "(?:" + "|".join(re.escape(part.strip()) for part in content.split(",")) + ")"


def _time(name: str) -> tuple[str, float]:
    """What stands before the last number of a name, in folders and in it, and that number."""
    numbers = list(re.finditer(r"\d+(?:\.\d+)?", PurePosixPath(name).name))
    if not numbers:
        raise DataError(f"{name} has no number, which would be its time; pass a pattern that captures it")
    return PurePosixPath(name).parent.as_posix(), float(numbers[-1][0])


def _nearest(
    first: Mapping[str, tuple[str, float]], other: Mapping[str, tuple[str, float]], tolerance: float
) -> dict[str, str]:
    """Names of `first` to those of `other`, one to one, from the closest pair on."""
    ordered = sorted((when, name) for name, when in other.items())
    keys = [when for when, _ in ordered]
    candidates = []
    for name, (place, time) in first.items():
        low = bisect.bisect_left(keys, (place, time - tolerance))
        high = bisect.bisect_right(keys, (place, time + tolerance))
        candidates += [(abs(when[1] - time), name, other_name) for when, other_name in ordered[low:high]]
    result: dict[str, str] = {}
    used: set[str] = set()
    for _, name, other_name in sorted(candidates):
        if name not in result and other_name not in used:
            result[name] = other_name
            used.add(other_name)
    return result


def _lines(path: Path) -> list[dict[str, str]]:
    """The lines of a table as text by column; absent and null entries are empty."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() in (".jsonl", ".ndjson"):
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
            return [{key: "" if v is None else str(v) for key, v in row.items()} for row in rows]
        if path.suffix.lower() == ".csv":
            table = csv.DictReader(text.splitlines(), strict=True)
            return [{k: (v or "").strip() for k, v in row.items() if k is not None} for row in table]
    except (OSError, ValueError, AttributeError, RecursionError, csv.Error) as error:
        raise DataError(f"{path}: no readable table ({error})") from error
    raise DataError(f"{path}: a table of pairs is a .csv or .jsonl file")
