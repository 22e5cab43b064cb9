"""The plan of a run as a table, and whether the machine has what it needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common import free_disk, free_memory, in_gib

if TYPE_CHECKING:
    import torch

    from crdkit.pipelines import Plan

MIB = 2**20


def print_plan(plan: Plan, config: Any, preset: str, *, ranks: int, device: torch.device) -> None:
    """Print what a run will do and need.

    Args:
        plan: the steps of one rank; several share them.
        device: where it was tried.
    """
    from rich.console import Console
    from rich.table import Table

    from crdkit.engine import in_words

    table = Table(
        box=None, pad_edge=False, header_style="bold", title=f"{preset}: the plan", title_justify="left"
    )
    for name in ("training", "times", "steps", "parameters", "time"):
        table.add_column(name, justify="left" if name == "training" else "right")
    if plan.cache_bytes:
        size = f"{plan.cache_bytes / MIB:,.0f} MiB"
        table.add_row("the teachers' outputs, cached", "1", "", size, in_words(plan.cache_seconds))
    for training in plan.trainings:
        table.add_row(
            training.label,
            str(training.count),
            f"{training.steps:,}",
            f"{training.parameters:,}",
            in_words(training.seconds),
        )
    console = Console(highlight=False)
    console.width = max(console.width, 100)
    console.print(table)
    folder = config.output or Path("runs")
    rows = [
        ("in all", f"about {in_words(plan.seconds)} on one {name_of(device)}, evaluations not counted"),
        (
            "memory",
            f"{plan.memory_bytes / MIB:,.0f} MiB in the steps that were tried; "
            f"{in_gib(free_on(device))} free",
        ),
        ("disk", f"about {plan.disk_bytes / MIB:,.0f} MiB in {folder}; {in_gib(free_disk(folder))} free"),
    ]
    if ranks > 1:
        rows.append(("ranks", f"{ranks}: the steps above are those of one process that does everything"))
    for what, text in rows:
        print(f"{what:10}{text}")


def name_of(device: torch.device) -> str:
    """What computes, in words."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"process with {torch.get_num_threads()} threads"


def free_on(device: torch.device) -> int:
    """Bytes that are free on a device; on a CPU those that this process may still take."""
    import psutil
    import torch

    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = free_memory()
    return psutil.virtual_memory().available if free is None else free
