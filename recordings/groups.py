"""Recordings and scenes: samples that must stay together."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common import UserError
from ..data import DataError
from ..data.io.listing import some
from .find import Found

Rows = NDArray[np.int64]


def groups_of(found: Found, group: str, paths: Mapping[str, str]) -> dict[str, str]:
    """Name of each sample to that of its group.

    Args:
        group: `parent`, the folder of the first modality's file; a column of a table; or a regular
            expression whose capture groups are searched in the path.
        paths: name to the path of the first modality's file, below the root.

    Raises:
        DataError: an expression without capture group, or one that some paths do not have, a column without
            entry.
    """
    if any(group in line for line in found.columns.values()):
        named = {name: found.columns[name].get(group, "") for name in paths}
    elif group == "parent":
        return {name: found.parents[name] for name in paths}
    else:
        try:
            expression = re.compile(group)
        except re.error as error:
            raise DataError(f"group={group!r} is no regular expression: {error}") from error
        if not expression.groups:
            raise DataError(
                f"group={group!r} must be 'parent', a column of the table, or a regular expression with a "
                "capture group (…)"
            )
        matches = {name: expression.search(path) for name, path in paths.items()}
        named = {name: "/".join(g for g in m.groups() if g) if m else "" for name, m in matches.items()}
    if without := [paths[name] for name, value in named.items() if not value]:
        raise DataError(f"group={group!r}: {len(without)} samples have none, such as {some(without)}")
    return named


def numbered(groups: Sequence[str]) -> tuple[Rows, tuple[str, ...]]:
    """(N,) int64 group numbers of named groups, and the sorted names."""
    names, numbers = np.unique(np.asarray(groups, object).astype(str), return_inverse=True)
    return numbers.astype(np.int64), tuple(str(name) for name in names)


def split_by_group(dataset: Any, fraction: float, seed: int) -> tuple[Rows, Rows]:
    """Rows of `dataset` to train on and rows held out, no group on both sides, drawn by `seed`.

    Groups are taken in random order into the held-out rows as long as that brings their number nearer to
    `fraction` of all; each side gets at least one. Samples without groups are a group each.

    Args:
        dataset: has a length and, if its samples belong together, `groups` (N,) int64.
        fraction: of the samples, to hold out; between 0 and 1.

    Returns:
        Two rising arrays of rows, which together are all of them.

    Raises:
        ValueError: a fraction out of range.
        DataError: fewer than two groups.
    """
    if not 0 < fraction < 1:
        raise UserError(f"fraction must be between 0 and 1, got {fraction}")
    groups = getattr(dataset, "groups", None)
    groups = np.arange(len(dataset)) if groups is None else np.asarray(groups)
    numbers, sizes = np.unique(groups, return_counts=True)
    if len(numbers) < 2:
        raise DataError(f"{len(groups)} samples of {len(numbers)} group cannot be split by group")
    wanted, taken = fraction * len(groups), 0
    held: list[int] = []
    for place in np.random.default_rng(seed).permutation(len(numbers)):
        after = taken + int(sizes[place])
        if len(held) < len(numbers) - 1 and (not held or abs(after - wanted) < abs(taken - wanted)):
            held.append(int(numbers[place]))
            taken = after
    out = np.isin(groups, held)
    return np.flatnonzero(~out), np.flatnonzero(out)
