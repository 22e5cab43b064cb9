"""What a person can set for an ensemble run; imports no torch."""

from dataclasses import dataclass, field

from ..common import UserError
from ..data import ImagesConfig
from ..engine import check_once, check_seeds
from ..transfer import PipelineConfig, TeachersConfig


@dataclass(frozen=True)
class EnsembleConfig(PipelineConfig):
    """Distil ensembles of several sizes into one student, with several methods beside each other."""

    method: tuple[str, ...] = ("none", "kd-mean", "crd", "crd+kd")
    """`none` (the student alone), `kd-mean` (also `kd`), `kd-logits`, `kd-weighted`, `ca-mkd`, `aekd`,
    `aekd-hint`, `crd` or another distiller, which has a term for each teacher, or a sum with optional factors
    such as `crd+0.5*kd`."""
    data: ImagesConfig = field(default_factory=ImagesConfig)
    """The images."""
    teacher: TeachersConfig = field(
        default_factory=lambda: TeachersConfig(architecture=("wrn_40_2",), number=8)
    )
    """Stage 1: the pool of teachers."""
    teachers: tuple[int, ...] = (1, 2, 4, 6, 8)
    """Sizes of the ensembles. Without one the pool is trained and judged, and nothing is distilled."""
    subset_seed: tuple[int, ...] = ()
    """Draws of teachers from the pool, each with every seed; if absent each seed has a draw of its own. A
    larger ensemble of a draw holds the smaller ones."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_seeds("subset_seed", *self.subset_seed)
        check_once("teachers", self.teachers)
        pool = len(self.teacher)
        if outside := [number for number in self.teachers if not 1 <= number <= pool]:
            inside = " ".join(str(number) for number in self.teachers if number not in outside) or pool
            raise UserError(
                f"teachers must be 1 … {pool}, the pool (--teacher.number), "
                f"got {', '.join(map(str, outside))}: --teachers {inside} takes those it has"
            )
