"""What two networks have to compare, found before the training, with errors that name their shapes."""

from __future__ import annotations

from ..models import Dimensions
from .term import Pair

__all__ = ["Shape", "classes", "last_maps", "map_at", "refusal", "stage_maps"]

Shape = tuple[int, int, int]
"""(C, H, W) of a map."""


def last_maps(pair: Pair, method: str) -> tuple[Shape, Shape]:
    """The last map of the student and of the teacher."""
    return map_at(pair, method, -1)


def map_at(pair: Pair, method: str, index: int) -> tuple[Shape, Shape]:
    """The map of this number, stem 0, of the student and of the teacher.

    Raises:
        ValueError: where one of them has no such map.
    """
    try:
        return pair.student.maps[index], pair.teacher.maps[index]
    except IndexError:
        raise refusal(pair, method, f"it reads map {index}, which one of them does not have") from None


def stage_maps(pair: Pair, method: str, *, equally_many: bool = False) -> list[tuple[Shape, Shape]]:
    """The maps beyond the stem, paired from the first stage on; where one network has more, the rest of its
    maps goes without a partner, as in the published benchmark.

    Raises:
        ValueError: for no pair, or different counts where `equally_many` is asked for.
    """
    student, teacher = pair.student.maps[1:], pair.teacher.maps[1:]
    if not student or not teacher:
        raise refusal(pair, method, "it reads the maps beyond the stem, and there are none")
    if equally_many and len(student) != len(teacher):
        raise refusal(
            pair, method, f"it needs equally many maps, got {len(student) + 1} and {len(teacher) + 1}"
        )
    return list(zip(student, teacher, strict=False))


def classes(pair: Pair, method: str) -> int:
    """The number of classes of both classifiers.

    Raises:
        ValueError: where one gives no logits, (C,), or they have different classes.
    """
    logits = pair.student.logits, pair.teacher.logits
    if logits[0] is None or logits[0] != logits[1] or len(logits[0]) != 1:
        raise ValueError(
            f"{method} compares the logits of two classifiers over the same classes, got a student with "
            f"{logits[0]} and a teacher with {logits[1]}"
        )
    return logits[0][0]


def refusal(pair: Pair, method: str, why: str) -> ValueError:
    """The error of a method that cannot run on this pair."""
    return ValueError(
        f"{method} cannot compare these networks: {why}. Student: {_listed(pair.student)}; teacher: "
        f"{_listed(pair.teacher)}"
    )


def _listed(dimensions: Dimensions) -> str:
    maps = ", ".join("x".join(map(str, shape)) for shape in dimensions.maps)
    return f"maps {maps or 'none'}, embedding {dimensions.embedding}"
