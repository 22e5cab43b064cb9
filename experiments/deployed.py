"""The networks of a run that a user takes home: a folder for each method and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crdkit.pipelines import Pipeline, RunResult

KEPT = 8
"""Test samples that are kept, at most."""


def deploy(
    folder: Path, task: str, pipeline: Pipeline, runs: Sequence[RunResult], environment: Mapping[str, Any]
) -> None:
    """Write `folder/deploy/METHOD` for every run, with `-seed-N` if there are several seeds, and beside them
    some test samples, on which exports are compared."""
    from safetensors.torch import save_file

    from crdkit.common import atomically
    from crdkit.data import evenly_spaced, read_rows
    from crdkit.deploy import SAMPLES, Card, save

    for done in runs:
        card = Card(
            done.method,
            done.seed,
            done.metrics,
            task,
            _data_in_words(pipeline),
            _teachers_in_words(pipeline, done),
            environment,
        )
        description = pipeline.describe_network(done.network)
        save(done.network, folder / "deploy" / folder_of(done, runs), description, card)
    if (held_out := pipeline.held_out) is not None:
        images = read_rows(held_out, evenly_spaced(len(held_out), KEPT))[pipeline.data.modality]
        with atomically(folder / "deploy" / SAMPLES) as made:
            save_file({"images": images.cpu().contiguous()}, made)


def folder_of(done: RunResult, runs: Sequence[RunResult]) -> str:
    """The name of a run's folder: method, number of teachers of a pool and its draw, and the seed if there
    are several."""
    parts = [done.method]
    if done.teachers:
        parts.append(f"teachers-{len(done.teachers)}")
        if done.subset_seed != done.seed:
            parts.append(f"draw-{done.subset_seed}")
    if len({other.seed for other in runs}) > 1:
        parts.append(f"seed-{done.seed}")
    return "-".join(parts)


def _data_in_words(pipeline: Pipeline) -> str:
    config: Any = pipeline.config
    root = config.data.root
    place = "" if root is None else f" ({Path(root).name})"
    return f"{config.data.source}{place}, {len(pipeline.data.dataset)} samples in the transfer"


def _teachers_in_words(pipeline: Pipeline, done: RunResult) -> list[str]:
    if done.method == "none":
        return []
    config = pipeline.config.teacher
    if pipeline.builder.given_teachers is not None:
        return [f"{teacher.name}, sees {teacher.modality}" for teacher in pipeline.builder.given_teachers]
    numbers = done.teachers or range(len(config))
    lines = []
    for number in numbers:
        spec = config.specs[number]
        source = "trained in the run" if spec.weights is None else f"weights {Path(spec.weights).name}"
        lines.append(f"{spec.architecture}, sees {spec.modality}, {source}")
    return lines
