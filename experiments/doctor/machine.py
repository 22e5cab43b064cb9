"""What the machine has: cores, precisions, memory, disk, packages."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from ...common import free_disk, in_gib, time_calls
from ..plan import MIB, free_on, name_of
from .finding import Findings

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from crdkit.engine import TrainConfig
    from crdkit.pipelines import Plan
    from crdkit.transfer import TransferConfig

FASTER = 1.3
"""A precision that is faster by this factor is worth a note."""
BUSY = 25.0
"""Percent of all cores, taken by other processes, that slow a run down."""
LOADING = 0.25
"""Of a step's time: loading that takes more of it is worth a note."""
PACKAGES = {
    "timm": ("timm", "networks by timm/NAME"),
    "onnxruntime": ("export", "crdkit export --format onnx"),
    "tensorboard": ("trackers", "--trackers tensorboard"),
}
"""Package to the extra that brings it, and what needs it."""


def examine_processor(found: Findings, device: torch.device, precision: str) -> None:
    """Whose cores, how busy, and which precision they are fast in."""
    import psutil
    import torch

    from crdkit.common import available_cores
    from crdkit.engine import milliseconds

    busy = psutil.cpu_percent(interval=0.2)
    if device.type == "cuda":
        found.add("ok", "processor", name_of(device))
    else:
        threads = torch.get_num_threads()
        found.add("ok", "processor", f"{threads} threads on {available_cores()} cores")
        if busy > BUSY:
            found.add("note", "processor", f"other processes take {busy:.0f} % of the cores")
    fp32, bf16 = milliseconds(device)
    gain = fp32 / bf16
    text = f"a convolution takes {fp32:.2f} ms in fp32, {bf16:.2f} ms in bf16"
    if precision == "bf16" and gain < 1 / FASTER:
        found.add("note", "precision", f"{text}: --precision no is faster here")
    elif precision == "no" and gain > FASTER:
        found.add("note", "precision", f"{text}: --precision bf16 may be faster here")
    else:
        computes = "fp32" if precision == "no" else precision
        found.add("ok", "precision", f"{text}; the run computes in {computes}")


def examine_space(
    found: Findings, plan: Plan, config: TransferConfig, device: torch.device, output: Path
) -> None:
    """Compare the memory and the disk space that a run needs with what is free."""
    import psutil

    cached = plan.cache_bytes > config.cache_limit * 2**30 or config.cache is not None
    on_disk = cached if config.cache_on == "auto" else config.cache_on == "disk"
    needed = plan.memory_bytes + (0 if on_disk else plan.cache_bytes)
    held = 0 if device.type == "cuda" else psutil.Process().memory_info().rss
    free = free_on(device) + held
    text = f"about {needed / MIB:,.0f} MiB, by the steps that were tried"
    if plan.cache_bytes and not on_disk:
        text += f", {plan.cache_bytes / MIB:,.0f} MiB of it the teachers' cached outputs"
    _compare(
        found, "memory", text, needed, free, "a smaller batch, or fewer samples in memory: --data.memory"
    )
    needed = plan.disk_bytes + (plan.cache_bytes if on_disk else 0)
    text = f"about {needed / MIB:,.0f} MiB in {output}"
    if plan.cache_bytes and on_disk:
        text += f", {plan.cache_bytes / MIB:,.0f} MiB of it the teachers' cached outputs"
    _compare(found, "disk", text, needed, free_disk(output), "name another --output, or --keep none")


def _compare(found: Findings, topic: str, text: str, needed: float, free: float, remedy: str) -> None:
    text += f"; {in_gib(free)} are free"
    if needed > free:
        found.add("problem", topic, f"{text}: too little. Take {remedy}")
    elif needed > 0.8 * free:
        found.add("note", topic, f"{text}: that is close")
    else:
        found.add("ok", topic, text)


def examine_loading(found: Findings, plan: Plan, dataset: Any, train: TrainConfig) -> None:
    """Check whether reading a batch delays the steps of the transfer."""
    from crdkit.data import read_rows

    transfers = [t for t in plan.trainings if t.kind == "transfer" and t.seconds > 0]
    if not transfers:
        return
    fastest = min(t.seconds / (t.count * t.steps) for t in transfers)
    rows = range(min(train.batch_size, len(dataset)))
    ((load,),) = time_calls([lambda: read_rows(dataset, rows)], warmup=0, repeats=1)
    step = fastest
    waits = load / max(1, train.num_workers)
    text = (
        f"a batch is read in {1000 * load:.1f} ms, a step takes {1000 * step:.1f} ms, "
        f"{train.num_workers} processes read"
    )
    if waits > LOADING * step:
        found.add(
            "note",
            "loading",
            f"{text}: steps wait. More --transfer.train.num-workers, or --data.cache FOLDER for pairs on "
            "disk",
        )
    else:
        found.add("ok", "loading", text)


def examine_packages(found: Findings) -> None:
    """Optional packages, those that are there and those that are not; the C compiler."""
    from crdkit.contrast import has_native_gather

    if has_native_gather():
        found.add("ok", "compiler", "drawn negatives are scored by the contrast's own kernel")
    else:
        found.add(
            "note", "compiler", "no C compiler: PyTorch scores drawn negatives on a CPU, several times slower"
        )
    here, missing = [], []
    for name, (extra, need) in PACKAGES.items():
        try:
            here.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(f"{name} (for {need}: the extra `{extra}`)")
    text = f"torch {version('torch')}, {', '.join(here)}" if here else f"torch {version('torch')}"
    found.add("ok", "packages", text + (f"; not installed: {', '.join(missing)}" if missing else ""))
