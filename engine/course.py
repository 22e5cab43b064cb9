"""How far a command of several trainings is, and how long the rest will take."""

import time
from collections.abc import Mapping
from pathlib import PurePosixPath


class Course:
    """The steps of every training ahead, and what those behind it took.

    A training still to come is taken to be as fast as the last of its kind, by the last word of its stage
    (`transfer`, `segment`), or as all that are done if there was none.

    Args:
        steps: optimizer steps of each training that a command will take, by its stage.
    """

    def __init__(self, steps: Mapping[str, int] | None = None) -> None:
        self.ahead, self.total = dict(steps or {}), len(steps or {})
        self.begun = time.monotonic()
        self.taken: dict[str, float] = {}
        self.trained, self.trained_steps = 0.0, 0

    def pass_by(self, *beginnings: str) -> None:
        """What begins so is over: trained, or loaded, or found not to be needed."""
        self.ahead = {stage: n for stage, n in self.ahead.items() if not stage.startswith(beginnings)}

    def observe(self, stage: str, steps: int, seconds: float) -> None:
        """So many steps of a training took so long, its evaluations included."""
        if steps:
            self.taken[_kind(stage)] = seconds / steps
            self.trained += seconds
            self.trained_steps += steps

    def left(self, stage: str, step: int, seconds_per_step: float | None) -> float | None:
        """Seconds until everything is done; None if nothing is known of that.

        Args:
            stage: the training that runs, with so many steps done.
            seconds_per_step: its own speed, None before it is known.
        """
        speeds = self.taken | ({} if seconds_per_step is None else {_kind(stage): seconds_per_step})
        if not speeds or stage not in self.ahead:
            return None
        usual = self.trained / self.trained_steps if self.trained_steps else max(speeds.values())
        ahead = {**self.ahead, stage: self.ahead[stage] - step}
        seconds = sum(steps * speeds.get(_kind(name), usual) for name, steps in ahead.items())
        # What lies between trainings, such as caches and probes, goes on at the share it had.
        wall = time.monotonic() - self.begun
        return seconds * (max(1.0, wall / self.trained) if self.trained > 1 else 1.0)


def in_words(seconds: float) -> str:
    """`40 s`, `12 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _kind(stage: str) -> str:
    path = PurePosixPath(stage)
    return path.parts[0] if path.parts[:1] == ("teachers",) else path.name
