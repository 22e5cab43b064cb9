"""The trained networks of a run, ready for use: a folder for each method and seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import nn

    from crdkit.models import Description
    from crdkit.pipelines import RunResult
    from crdkit.transfer import TeachersConfig

NUM_SAMPLES = 8
"""Largest number of test samples that are stored."""


class Origin(NamedTuple):
    """What the model cards of one run have in common."""

    task: str
    """`compression`, `crossmodal`, …"""
    data: str
    """Training data, in words."""
    teachers: Sequence[str]
    """One line for each teacher."""
    environment: Mapping[str, Any]
    """As results.json has it."""

    @classmethod
    def of(cls, task: str, config: Any, num_samples: int, environment: Mapping[str, Any]) -> Origin:
        """Describe the data and the teachers of a configuration in words."""
        root = config.data.root
        place = "" if root is None else f" ({Path(root).name})"
        data = f"{config.data.source}{place}, {num_samples} samples in the transfer"
        return cls(task, data, teachers_in_words(config.teacher), environment)


def deploy(
    folder: Path,
    runs: Sequence[RunResult],
    origin: Origin,
    *,
    describe: Callable[[nn.Module], Description],
    held_out: Any | None,
    modality: str,
) -> None:
    """Write `folder/deploy/METHOD` for every run, with `-seed-N` if there are several seeds, and test samples
    on which exports are compared.

    Args:
        folder: run folder.
        runs: finished runs.
        origin: data, teachers and environment of the model cards.
        describe: network → its description.
        held_out: test samples of the student's modality; None writes no samples.
        modality: the student's.
    """
    from safetensors.torch import save_file

    from crdkit.common import atomically
    from crdkit.data import evenly_spaced, read_rows
    from crdkit.deploy import SAMPLES, Card, save

    task, data, lines, environment = origin
    for done in runs:
        numbers = () if done.method == "none" else done.teachers or range(len(lines))
        teachers = [lines[number] for number in numbers]
        card = Card(done.method, done.seed, done.metrics, task, data, teachers, environment)
        save(done.network, folder / "deploy" / folder_of(done, runs), describe(done.network), card)
    if held_out is not None:
        images = read_rows(held_out, evenly_spaced(len(held_out), NUM_SAMPLES))[modality]
        with atomically(folder / "deploy" / SAMPLES) as made:
            save_file({"images": images.cpu().contiguous()}, made)


def folder_of(done: RunResult, runs: Sequence[RunResult]) -> str:
    """Return the name of a run's folder: method, number of teachers of a pool and its draw, and the seed if
    there are several."""
    parts = [done.method]
    if done.teachers:
        parts.append(f"teachers-{len(done.teachers)}")
        if done.subset_seed != done.seed:
            parts.append(f"draw-{done.subset_seed}")
    if len({other.seed for other in runs}) > 1:
        parts.append(f"seed-{done.seed}")
    return "-".join(parts)


def teachers_in_words(config: TeachersConfig) -> list[str]:
    """Return one line for each teacher: architecture, modality, source of its weights."""
    lines = []
    for number in range(len(config)):
        spec = config.specs[number]
        source = "trained in the run" if spec.weights is None else f"weights {Path(spec.weights).name}"
        lines.append(f"{spec.architecture}, sees {spec.modality}, {source}")
    return lines
