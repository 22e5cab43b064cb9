"""Labels of whole images: which classes of a data set to use, and under which numbers."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from ..common import UserError, nearest
from .batch import DataError
from .io.decode import Array

Classes: TypeAlias = int | Sequence[int | str] | None
"""The first n classes, a list of their names or numbers, or None for all."""


def choose_classes(classes: Classes, names: Sequence[str], where: str) -> list[int]:
    """The stored numbers of the classes to use: label i of the result is class `chosen[i]` of the file.

    Args:
        classes: an empty list and a number of classes below 1 are errors.
        names: of all classes, in the order of their numbers.
        where: the data set, for a message.

    Raises:
        ValueError: a class that is not there (the nearest names are suggested), or one named twice.
    """
    if classes is None:
        return list(range(len(names)))
    if isinstance(classes, int):
        if not 1 <= classes <= len(names):
            raise UserError(f"{where} has {len(names)} classes, got classes={classes}")
        return list(range(classes))
    if isinstance(classes, str) or not classes:
        raise UserError(f"classes must be a number or a list of names, got {classes!r}")
    chosen = [_number(name, names, where) for name in classes]
    if len(set(chosen)) != len(chosen):
        twice = next(name for name, number in zip(classes, chosen, strict=True) if chosen.count(number) > 1)
        raise UserError(f"classes names {twice!r} more than once")
    return chosen


def _number(name: int | str, names: Sequence[str], where: str) -> int:
    if isinstance(name, int):
        if not 0 <= name < len(names):
            raise UserError(f"{where} has the classes 0 to {len(names) - 1}, got {name}")
        return name
    if names.count(name) == 1:
        return names.index(name)
    if name in names:
        raise UserError(f"{where} has {names.count(name)} classes named {name!r}; give their numbers")
    raise UserError(f"{where} has no class {name!r}: {nearest(name, names)}")


def names_in_lines(data: bytes, where: str) -> tuple[str, ...]:
    """The names of classes in a text file with one on each line. `DataError` where there is none."""
    names = tuple(line.strip() for line in data.decode("latin1").splitlines() if line.strip())
    if not names:
        raise DataError(f"{where} names no class")
    return names


def check_labels(labels: Array, count: int, num_classes: int | None, where: str) -> Array:
    """`labels` (count,) as int64. Raises `DataError` for another shape or a value out of range."""
    labels = np.asarray(labels)
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise DataError(f"{where}: {count} images, but labels of shape {labels.shape}, {labels.dtype}")
    labels = labels.astype(np.int64)
    limit = np.iinfo(np.int64).max if num_classes is None else num_classes
    wrong = np.flatnonzero((labels < 0) | (labels >= limit))
    if wrong.size:
        raise DataError(f"{where}: label {labels[wrong[0]]} of image {wrong[0]}, expected 0 to {limit - 1}")
    return labels


def select_classes(
    classes: Classes, labels: Array, names: Sequence[str], where: str
) -> tuple[Array, Array, tuple[str, ...]]:
    """The rows of the chosen classes in the order of the file, their labels 0, 1, …, and the names of these.

    Args:
        classes, names, where: as for `choose_classes`, whose errors it raises.
        labels: of all rows.

    Raises:
        DataError: no row is of these classes.
    """
    chosen = choose_classes(classes, names, where)
    table = np.full(max(int(labels.max(initial=0)), *chosen) + 1, -1, np.int64)
    table[chosen] = np.arange(len(chosen))
    rows = np.flatnonzero(table[labels] >= 0)
    if not rows.size:
        raise DataError(f"{where}: none of {len(labels)} images is of the {len(chosen)} chosen classes")
    return rows, table[labels[rows]], tuple(names[number] for number in chosen)
