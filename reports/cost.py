"""What a network costs: parameters, operations, time of an image; and what its training took."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..common import time_calls
from .outcome import Outcome, on_device
from .page import Table

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

TIMED, UNTIMED = 9, 3
"""Forward passes that are timed, after those that are not."""


class Cost(NamedTuple):
    """Of one image of the size that the run has."""

    parameters: int
    flops: int | None
    """Multiplications and additions, each counted; None for a network that cannot be counted."""
    milliseconds: float
    """Median of a forward pass of this one image."""


def cost_of(network: nn.Module, image: Tensor, device: torch.device | None = None) -> Cost:
    """Measure a network in evaluation mode on one image.

    Args:
        network: is moved to the device, and back afterwards.
        image: (1, C, H, W).
        device: the image's if absent.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    image = image.to(device or image.device)
    wait = torch.cuda.synchronize if image.is_cuda else None
    with torch.no_grad(), on_device(network, image.device):
        (seconds,) = time_calls([lambda: network(image)], warmup=UNTIMED, repeats=TIMED, synchronize=wait)
        counter = FlopCounterMode(display=False)
        try:
            with counter:
                network(image)
            flops: int | None = counter.get_total_flops() or None
        except Exception:  # an operation that torch cannot count
            flops = None
    return Cost(sum(p.numel() for p in network.parameters()), flops, 1000 * statistics.median(seconds))


def cost_table(outcome: Outcome) -> Table:
    """A row for each teacher and each method: the network as it is used, and the minutes that it took."""
    rows: list[list[Any]] = []
    for teacher in outcome.teachers:
        cost = cost_of(teacher.network, outcome.sample[teacher.modality], outcome.device)
        rows.append([f"teacher: {teacher.name}", *_cells(cost), minutes_in(teacher.folder)])
    image = outcome.sample[getattr(outcome.config, "student_modality", "rgb")]
    for method in dict.fromkeys(done.method for done in outcome.runs):
        done = [one for one in outcome.runs if one.method == method]
        whole = minutes_in(outcome.folder / "runs" / method)
        taken = None if whole is None else whole / len(done)
        rows.append([method, *_cells(cost_of(done[0].network, image, outcome.device)), taken])
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
