"""What a network costs: parameters, operations, time of an image; and what its training took."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .page import Table

if TYPE_CHECKING:
    from torch import Tensor, nn

    from crdkit.pipelines import RunResult

TIMED, UNTIMED = 9, 3
"""Forward passes that are timed, after those that are not."""


class Cost(NamedTuple):
    """Of one image of the size that the run has."""

    parameters: int
    flops: int | None
    """Multiplications and additions, each counted; None for a network that cannot be counted."""
    milliseconds: float
    """Median of a forward pass of this one image."""


def cost_of(network: nn.Module, image: Tensor) -> Cost:
    """Measure a network in evaluation mode on one image, (1, C, H, W), on the network's device."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    first = next(iter(network.parameters()), None)
    image = image.to(first.device) if first is not None else image
    training = network.training
    network.eval()

    def once() -> float:
        begun = time.perf_counter()
        network(image)
        if image.device.type == "cuda":
            torch.cuda.synchronize()
        return 1000 * (time.perf_counter() - begun)

    try:
        with torch.no_grad():
            for _ in range(UNTIMED):
                once()
            taken = statistics.median(once() for _ in range(TIMED))
            counter = FlopCounterMode(display=False)
            try:
                with counter:
                    network(image)
                flops: int | None = counter.get_total_flops() or None
            except Exception:  # an operation that torch cannot count
                flops = None
    finally:
        network.train(training)
    return Cost(sum(p.numel() for p in network.parameters()), flops, taken)


def cost_table(
    folder: Path, runs: Sequence[RunResult], image: Any, teachers: Mapping[str, tuple[Any, Any, Path]]
) -> Table:
    """A row for each teacher and each method: the network as it is used, and the minutes that it took.

    Args:
        folder: of the run.
        runs: done.
        image: what a student sees, (1, C, H, W).
        teachers: name → network, its image, and the folder of its training.
    """
    rows: list[list[Any]] = []
    for name, (network, seen, stage) in teachers.items():
        rows.append([f"teacher: {name}", *_cells(cost_of(network, seen)), minutes_in(stage)])
    for method in dict.fromkeys(done.method for done in runs):
        done = [one for one in runs if one.method == method]
        whole = minutes_in(folder / "runs" / method)
        taken = None if whole is None else whole / len(done)
        rows.append([method, *_cells(cost_of(done[0].network, image)), taken])
    headings = ["network", "parameters, millions", "GFLOPs an image", "ms an image", "minutes of a training"]
    told = [n for n in range(len(headings)) if n == 0 or any(row[n] is not None for row in rows)]
    size = " × ".join(map(str, image.shape[1:]))
    note = (
        f"One image of {size} at a time, on the machine of the run (its environment is below); a "
        "multiplication and an addition are two operations. Minutes are of one seed, with its evaluations, "
        "without the teachers."
    )
    table = [[row[n] for n in told] for row in rows]
    return Table("Cost", [headings[n] for n in told], table, note=note, digits=2)


def minutes_in(folder: Path) -> float | None:
    """Minutes of all trainings below a folder, as their metrics.jsonl tells; None if none does."""
    found = []
    for path in folder.rglob("metrics.jsonl"):
        rows = [
            json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if '"seconds"' in line
        ]
        if rows:
            found.append(rows[-1]["seconds"])
    return sum(found) / 60 if found else None


def _cells(cost: Cost) -> list[Any]:
    flops = None if cost.flops is None else cost.flops / 1e9
    return [cost.parameters / 1e6, flops, cost.milliseconds]
