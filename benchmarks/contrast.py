"""What a step of the contrastive loss costs, against the plain published formulation.

A step is forward, backward and the writing of both banks. The published formulation, written here from its
mathematics, gathers K+1 rows for every sample, multiplies, exponentiates and takes the ratio with an eps.
All methods of a setting take turns in one run, on the same banks, so that a ratio compares like with like;
times are medians over the rounds. Before anything is timed, both are checked to give the same loss.

Peak extra memory is what a step holds at most above what was there before it: on a CPU from the allocation
events of PyTorch's profiler (all tensors, not the few MB inside the BLAS library), on a GPU from the
caching allocator's own peak.

    python benchmarks/contrast.py --output benchmarks/results/contrast-cpu.json

The full run takes about two minutes on two cores.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turns import surroundings, synchronize, timed_command_line, write

if TYPE_CHECKING:
    from torch import Tensor

    from crdkit.contrast import InstanceContrast

    Step = Callable[[Tensor, Tensor, Tensor], Tensor]

HEADLINE = {"batch_size": 64, "num_samples": 50_000, "num_negatives": 16_384}
METHODS = ("uniform", "other_class", "shared", "all", "batch")
#: What the headline setting is to reach on two CPU threads: times faster than the published formulation.
TARGETS = {"uniform": 8, "shared": 25, "batch": 25, "all": 6}
MEMORY_TARGET = 0.1
DIM, SEED, NUM_CLASSES = 128, 0, 100


def settings(quick: bool) -> list[dict[str, int]]:
    """The headline, then the growth over M, K and B, one at a time."""
    growth = {
        "num_samples": [5_000] if quick else [5_000, 20_000, 200_000, 1_300_000],
        "num_negatives": [1_024] if quick else [256, 1_024, 4_096],
        "batch_size": [16] if quick else [16, 32, 128],
    }
    return [HEADLINE, *({**HEADLINE, name: value} for name, values in growth.items() for value in values)]


def published_step(contrast: InstanceContrast, num_negatives: int, columns: Tensor | None = None) -> Step:
    """Forward, backward and the writing of the banks in the published formulation."""
    from published import published_loss

    published, write = published_loss(contrast, num_negatives, columns)

    def step(z_s: Tensor, z_t: Tensor, index: Tensor) -> Tensor:
        loss = published(z_s, z_t, index)
        loss.backward()
        write(index, z_s, z_t)
        return loss.detach()

    return step


def own_step(contrast: InstanceContrast, columns: Tensor | None = None) -> Step:
    def step(z_s: Tensor, z_t: Tensor, index: Tensor) -> Tensor:
        loss: Tensor = contrast(z_s, z_t, index, negative_index=columns)
        loss.backward()
        contrast.update(index, z_s, z_t)
        return loss.detach()

    return step


def build(setting: dict[str, int], negatives: str, device: str) -> InstanceContrast:
    import torch

    from crdkit.contrast import InstanceContrast

    return InstanceContrast(
        setting["num_samples"],
        DIM,
        num_negatives=setting["num_negatives"],
        negatives=negatives,
        labels=torch.arange(setting["num_samples"]) % NUM_CLASSES if negatives == "other_class" else None,
    ).to(device)


def inputs(setting: dict[str, int], device: str) -> tuple[Tensor, Tensor, Tensor]:
    import torch
    import torch.nn.functional as F

    z_s, z_t = (
        F.normalize(torch.randn(setting["batch_size"], DIM, device=device), dim=1).requires_grad_()
        for _ in range(2)
    )
    return z_s, z_t, torch.randperm(setting["num_samples"])[: setting["batch_size"]].to(device)


def disagreement(device: str) -> float:
    """The relative difference of loss and gradients between both formulations on the same draws."""
    import torch

    setting = {"batch_size": 16, "num_samples": 5_000, "num_negatives": 1_024}
    ours, theirs = build(setting, "uniform", device), build(setting, "uniform", device)
    theirs.load_state_dict(ours.state_dict())
    columns = torch.randint(setting["num_samples"], (16, 1_024), device=device)
    steps = own_step(ours, columns), published_step(theirs, 1_024, columns)
    z_s, z_t, index = inputs(setting, device)
    results: list[tuple[Tensor, Tensor, Tensor]] = []
    for step in steps:
        z_s.grad = z_t.grad = None
        loss = step(z_s, z_t, index)
        assert z_s.grad is not None and z_t.grad is not None
        results.append((loss, z_s.grad, z_t.grad))
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(*results, strict=True))


def seconds(step: Step, setting: dict[str, int], device: str) -> float:
    batch = inputs(setting, device)
    synchronize(device)
    start = time.perf_counter()
    step(*batch)
    synchronize(device)
    return time.perf_counter() - start


def peak_bytes(step: Step, setting: dict[str, int], device: str) -> int:
    """The most that a step holds above what was there before."""
    import torch

    batch = inputs(setting, device)
    if device.startswith("cuda"):
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step(*batch)
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profiler:
        step(*batch)
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


def measure(setting: dict[str, int], rounds: int, device: str) -> dict[str, Any]:
    """Median times and peak memory of all methods in one setting."""
    import torch

    from crdkit.contrast import scores

    torch.manual_seed(SEED)
    steps: dict[str, Step] = {}
    first: InstanceContrast | None = None
    for name in METHODS:
        loss = build(setting, name, device)
        if first is None:
            first, steps["published"] = loss, published_step(loss, setting["num_negatives"])
        elif loss.bank_student is not None:
            # One pair of banks for all: at M = 1.3 million a pair has 1.3 GB.
            loss.bank_student, loss.bank_teacher = first.bank_student, first.bank_teacher
        steps[name] = own_step(loss)
    times: dict[str, list[float]] = {name: [] for name in steps}
    for round_ in range(rounds + 1):
        for name, step in steps.items():
            duration = seconds(step, setting, device)
            if round_ > 0:  # the first one warms up, and fixes Z
                times[name].append(duration)
    medians = {name: statistics.median(values) for name, values in times.items()}
    peaks = {name: peak_bytes(step, setting, device) for name, step in steps.items()}
    product = scores.prefers_product(setting["num_samples"], setting["num_negatives"])
    return {
        **setting,
        "plan": "product" if product else "gather",
        "methods": {
            name: {
                "seconds": medians[name],
                "fastest": min(times[name]),
                "slowest": max(times[name]),
                "speedup": medians["published"] / medians[name],
                "peak_bytes": peaks[name],
                "peak_share": peaks[name] / peaks["published"],
            }
            for name in steps
        },
    }


def print_setting(result: dict[str, Any]) -> None:
    title = "B={batch_size:,} M={num_samples:,} K={num_negatives:,} ({plan})".format(**result)
    print(f"\n{title}\n{'':12}{'ms':>10}{'times faster':>14}{'peak MB':>10}{'share':>8}", flush=True)
    for name, row in result["methods"].items():
        print(
            f"{name:12}{row['seconds'] * 1e3:10.1f}{row['speedup']:14.1f}"
            f"{row['peak_bytes'] / 1e6:10.1f}{row['peak_share']:8.3f}",
            flush=True,
        )


def judge(headline: dict[str, Any]) -> dict[str, bool]:
    """Which targets the headline setting meets; they are set for two CPU threads."""
    methods = headline["methods"]
    met = {f"{name} >= {factor}x": methods[name]["speedup"] >= factor for name, factor in TARGETS.items()}
    met |= {f"{name} memory <= 1/10": methods[name]["peak_share"] <= MEMORY_TARGET for name in METHODS}
    return met


def main() -> None:
    parser = timed_command_line(__doc__)
    parser.set_defaults(rounds=None)
    parser.add_argument("--quick", action="store_true", help="the headline and one step along each axis")
    parser.add_argument("--headline", action="store_true", help="the headline setting alone")
    given = parser.parse_args()
    given.rounds = given.rounds or (3 if given.quick else 7)

    import torch

    around = surroundings(given)
    torch.manual_seed(SEED)
    difference = disagreement(given.device)
    print(f"loss and gradients agree with the published formulation to {difference:.1e}")
    if difference > 1e-3:
        parser.exit(1, "the two formulations disagree: nothing was timed\n")
    results = []
    for setting in settings(given.quick)[: 1 if given.headline else None]:
        results.append(measure(setting, given.rounds, given.device))
        print_setting(results[-1])
    targets = judge(results[0])
    print()
    for name, met in targets.items():
        print(f"{'met   ' if met else 'MISSED'} {name}")
    found = {"disagreement": difference, "targets": targets, "settings": results}
    write(given.output, "contrast", around, seed=SEED, **found)


if __name__ == "__main__":
    main()
