"""The values that the report of a finished run is made of, and what the report of one task adds to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .tables import Column, Run, Summary, summarize

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ..evaluation import Features
    from ..pipelines import RunResult
    from .page import Page


class TeacherNetwork(NamedTuple):
    """A teacher of the run."""

    name: str
    network: nn.Module
    modality: str
    """Modality that it takes as input."""
    folder: Path
    """Folder of its training; it does not exist if the weights were read from a file."""


@dataclass(frozen=True)
class Outcome:
    """Everything that the report of a run shows. Networks may be on the CPU."""

    folder: Path
    """Run folder."""
    config: Any
    """Configuration of the run."""
    runs: Sequence[RunResult]
    rows: Sequence[Run]
    """Rows of results.json."""
    device: torch.device
    """Device on which networks are evaluated and timed."""
    sample: Mapping[str, Any]
    """One sample: modality → (1, C, H, W)."""
    teacher_metrics: Any = None
    """`teacher` of results.json: a mapping, or a list of them."""
    teachers: Sequence[TeacherNetwork] = ()
    test: Any = None
    """Labeled test split; None if there is none."""
    class_names: Sequence[str] = ()
    """Names of all classes of the test split, numbers for classes without a name."""
    features: Mapping[str, Features] = field(default_factory=dict)
    """Test embeddings of the first seed's students, by method."""
    pairs: Any = None
    """Data set of the transfer's pairs; None if the transfer reads single images."""
    num_samples: int = 0
    """Number of samples of the transfer."""

    @cached_property
    def summary(self) -> Summary:
        """Mean and standard deviation of every metric of every method."""
        return summarize(self.rows)

    @property
    def pictures(self) -> Path:
        """Folder of the report's pictures."""
        return self.folder / "pictures"

    @property
    def first_seed(self) -> list[RunResult]:
        """Runs of the configuration's first seed."""
        return [done for done in self.runs if done.seed == self.config.seed[0]]


def method_of(done: RunResult) -> str:
    """Return the method of a run, its name in lines and legends."""
    return done.method


def row_of_each(config: Any, runs: Sequence[RunResult]) -> list[Run]:
    """Return one row of results.json for each run."""
    return [{"method": done.method, "seed": done.seed, "metrics": done.metrics} for done in runs]


@dataclass(frozen=True)
class TaskReport:
    """How the results of one kind of run are reported."""

    task: str
    """Name of the task in results.json."""
    line: Callable[[RunResult], str]
    """Main figures of one run, for a line of the terminal."""
    page: Callable[[Outcome], Page]
    """Draws the task's own pictures and returns the page, with the columns of its table."""
    name: Callable[[RunResult], str] = method_of
    """Name of a run in lines and legends."""
    rows: Callable[[Any, Sequence[RunResult]], list[Run]] = row_of_each
    """(configuration, runs) → rows of results.json."""
    shown: Callable[[Sequence[Column]], Sequence[Column]] = tuple
    """Columns of the page → columns of the terminal's table."""
    heading: str | None = None
    """Title of the terminal's table."""


@contextmanager
def on_device(network: nn.Module, device: Any) -> Iterator[nn.Module]:
    """Evaluate a network on a device: move it there, in eval mode, and restore both afterwards."""
    from ..models import evaluating

    first = next(network.parameters(), None)
    home = device if first is None else first.device
    try:
        with evaluating(network.to(device)):
            yield network
    finally:
        network.to(home)
