"""What the benchmarks share: a training step, calls that take turns, and the JSON that is left."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from crdkit.transfer import TransferTask


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
    task: TransferTask,
    read: Callable[[Tensor], dict[str, Tensor]],
    num_samples: int,
    *,
    batch_size: int,
    device: str,
    precision: str = "no",
) -> Callable[[], None]:
    """What the pipelines do with a batch: terms, backward, SGD, memories.

    Args:
        read: rows (B,) -> their batch.
        num_samples: M of the data set that the rows are from.
        precision: of the forward passes, "no" or "bf16".
    """
    import torch

    from crdkit.engine import weighted_sum

    task.module.to(device).train()
    if task.memory is not None:
        task.memory.to(device)
    optimizer = torch.optim.SGD(task.module.parameters(), lr=1e-4, momentum=0.9)

    def step() -> None:
        batch = {n: x.to(device) for n, x in read(torch.randperm(num_samples)[:batch_size]).items()}
        with torch.autocast(device.partition(":")[0], torch.bfloat16, enabled=precision == "bf16"):
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


def bytes_a_second(array: Tensor, device: str) -> float:
    """At which a large array is read, by its sum."""
    synchronize(device)
    start = time.perf_counter()
    array.sum()
    synchronize(device)
    return array.nbytes / (time.perf_counter() - start)


def flops_a_second(device: str) -> float:
    """At which matrices are multiplied in fp32: the fastest of several products of 2048 × 2048."""
    import torch

    side = 2048
    one, other = torch.randn(2, side, side, device=device)
    taken = []
    for _ in range(6):
        synchronize(device)
        start = time.perf_counter()
        one @ other
        synchronize(device)
        taken.append(time.perf_counter() - start)
    return 2 * side**3 / min(taken)


def peak_bytes(call: Callable[[], object], device: str) -> int:
    """The most that a call holds above what was there before."""
    import torch

    if device.startswith("cuda"):
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profiler:
        call()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    changes = sorted((e["ts"], e["args"]["Bytes"]) for e in events if e.get("name") == "[memory]")
    held = peak = 0
    for _, change in changes:
        held += change
        peak = max(peak, held)
    return peak


def peak(command: list[str]) -> tuple[float, float]:
    """Peak resident memory of a process in bytes, and its seconds."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command[1]} ended with status {status}")
    return usage.ru_maxrss * 1024.0, time.perf_counter() - start


def command_line(doc: str | None) -> argparse.ArgumentParser:
    """Of a benchmark: the file of its results."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="write the results to this JSON file")
    return parser


def timed_command_line(doc: str | None) -> argparse.ArgumentParser:
    """Likewise, with the device, the threads and the rounds of steps that are timed."""
    parser = command_line(doc)
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: PyTorch's)")
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds")
    return parser


def surroundings(given: argparse.Namespace) -> dict[str, Any]:
    """`environment` and `load_average` before anything is timed, with a warning where others work; for timed
    steps their device and rounds, and the threads are set."""
    import torch

    from crdkit.experiments.provenance import environment

    if getattr(given, "threads", None):
        torch.set_num_threads(given.threads)
    load = os.getloadavg()[0]
    if load > 0.5:
        # Short parallel sections wait for the slowest thread, so other work hits the fast methods hardest.
        print(f"warning: the load average is {load:.1f}; other work distorts the ratios")
    how = {name: getattr(given, name) for name in ("device", "rounds") if hasattr(given, name)}
    return {"environment": environment(), "load_average": load, **how}


def write(path: Path | None, benchmark: str, around: Mapping[str, Any], **report: Any) -> None:
    """The report of a benchmark as JSON, where it is asked for."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"benchmark": benchmark, **around, **report}, indent=2) + "\n")
