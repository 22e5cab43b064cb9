"""What the benchmarks share: a training step, calls that take turns, and the JSON that is left."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from crdkit.engine import TransferTask


def medians(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Seconds of every call, taking turns; the first round warms up."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for round_ in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if round_ > 0:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def training_step(
    task: TransferTask, labels: Tensor, *, batch_size: int, size: tuple[int, int, int], device: str
) -> Callable[[], None]:
    """What the pipelines do with a batch, here of random images: terms, backward, SGD, memories.

    Args:
        labels: (M,) of the data set that the batches are from.
        size: (C, H, W).
    """
    import torch

    from crdkit.engine.task import weighted_sum

    task.module.to(device).train()
    if task.memory is not None:
        task.memory.to(device)
    optimizer = torch.optim.SGD(task.module.parameters(), lr=1e-4, momentum=0.9)

    def step() -> None:
        index = torch.randperm(len(labels))[:batch_size]
        batch = {
            "index": index.to(device),
            "rgb": torch.rand(batch_size, *size, device=device),
            "label": labels[index].to(device),
        }
        found, extra = task.terms(task.module, batch)
        weighted_sum(found, task.weights).backward()
        optimizer.step()
        optimizer.zero_grad()
        task.update(batch, extra)
        synchronize(device)

    return step


def synchronize(device: str) -> None:
    """Wait for a GPU to be done."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize()


def surroundings() -> dict[str, Any]:
    """`environment` and `load_average` before anything is timed, with a warning where others work."""
    from crdkit.experiments.provenance import environment

    load = os.getloadavg()[0]
    if load > 0.5:
        # Short parallel sections wait for the slowest thread, so other work hits the fast methods hardest.
        print(f"warning: the load average is {load:.1f}; other work distorts the ratios")
    return {"environment": environment(), "load_average": load}


def write(path: Path | None, report: Mapping[str, Any]) -> None:
    """The report of a benchmark as JSON, where it is asked for."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=2) + "\n")
