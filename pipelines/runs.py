"""The students of a run, and the folders of their stages."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class StudentRun:
    """One student: a method, a seed and the teachers it learns from."""

    method: str
    """The method as typed: `none`, `crd`, `crd+0.5*kd`."""
    seed: int
    """Seed of the initialization, the order of the samples and the augmentation."""
    teachers: tuple[int, ...] | None = None
    """Indices of the teachers drawn from a pool; None for all teachers."""
    subset_seed: int | None = None
    """Seed of that draw; None without one."""


def students(config: Any) -> tuple[StudentRun, ...]:
    """Return a student for each seed and method of a `PipelineConfig`."""
    return tuple(StudentRun(method, seed) for seed in config.seed for method in config.method)


def stage_folder(owner: StudentRun | int, stage: str = "", *, modality: str = "") -> str:
    """Return the folder of a stage within the run folder, the only place where it is formatted.

    Args:
        owner: the student, or a teacher by the seed of its training.
        stage: the stage of a student, such as `transfer`; empty for the student's own folder.
        modality: the teacher's modality.
    """
    if isinstance(owner, int):
        return f"teachers/{modality}-seed-{owner}"
    parts = ["runs", owner.method]
    if owner.teachers is not None:
        parts += [f"teachers-{len(owner.teachers)}", f"draw-{owner.subset_seed}"]
    return "/".join([*parts, f"seed-{owner.seed}", *([stage] if stage else [])])
