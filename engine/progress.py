"""Progress of a command of several trainings, and how much time remains."""

import time
from collections.abc import Mapping
from pathlib import PurePosixPath


class Progress:
    """Steps of every remaining training, and the speed of the completed ones.

    A remaining training is assumed to be as fast as the last of its kind, which is the last part of its stage
    (`transfer`, `segment`), or as the mean of all completed ones if there was none.

    Args:
        steps: optimizer steps of each training that a command will take, by its stage.
    """

    def __init__(self, steps: Mapping[str, int] | None = None) -> None:
        self.remaining, self.total = dict(steps or {}), len(steps or {})
        self.begun = time.monotonic()
        self.seconds_per_step: dict[str, float] = {}
        self.trained_seconds, self.trained_steps = 0.0, 0

    def complete(self, *prefixes: str) -> None:
        """Remove the stages with these prefixes: trained, loaded, or not needed."""
        self.remaining = {s: n for s, n in self.remaining.items() if not s.startswith(prefixes)}

    def observe(self, stage: str, steps: int, seconds: float) -> None:
        """Record how long the steps of a training took, its evaluations included."""
        if steps:
            self.seconds_per_step[_kind(stage)] = seconds / steps
            self.trained_seconds += seconds
            self.trained_steps += steps

    def remaining_seconds(self, stage: str, step: int, seconds_per_step: float | None) -> float | None:
        """Return the seconds until all trainings are complete, or None if no speed is known.

        Args:
            stage: the training that runs.
            step: its completed steps.
            seconds_per_step: its speed, None before it is known.
        """
        speeds = self.seconds_per_step | (
            {} if seconds_per_step is None else {_kind(stage): seconds_per_step}
        )
        if not speeds or stage not in self.remaining:
            return None
        mean = self.trained_seconds / self.trained_steps if self.trained_steps else max(speeds.values())
        remaining = {**self.remaining, stage: self.remaining[stage] - step}
        seconds = sum(steps * speeds.get(_kind(name), mean) for name, steps in remaining.items())
        # Caches, probes and the like between trainings are assumed to keep their share of the time.
        wall = time.monotonic() - self.begun
        return seconds * (max(1.0, wall / self.trained_seconds) if self.trained_seconds > 1 else 1.0)


def in_words(seconds: float) -> str:
    """Return `40 s`, `12 min` or `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _kind(stage: str) -> str:
    path = PurePosixPath(stage)
    return path.parts[0] if path.parts[:1] == ("teachers",) else path.name
