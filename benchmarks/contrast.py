"""What a step of the contrastive loss costs, against the plain published formulation.

A step is forward, backward and the writing of both banks. The published formulation, written here from its
mathematics, gathers K+1 rows for every sample, multiplies, exponentiates and takes the ratio with an eps.
All methods of a setting take turns in one run, on the same banks, so that a ratio compares like with like;
times are medians over the rounds. Before anything is timed, both are checked to give the same loss.

Peak extra memory is what a step holds at most above what was there before it: on a CPU from the allocation
events of PyTorch's profiler (all tensors, not the few MB inside the BLAS library), on a GPU from the
caching allocator's own peak.

    python benchmarks/contrast.py --output benchmarks/results/contrast-cpu.json

The share of the bound is the time in which the drawn rows of both banks alone could be read, at the speed at
which this machine sums up a large array, over the time of the step. The picture of the results puts every
setting under the roof of that speed and of fp32 matrix products. The full run takes about ten minutes on two
cores.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from turns import (
    bytes_a_second,
    flops_a_second,
    peak_bytes,
    surroundings,
    synchronize,
    timed_command_line,
    write,
)

if TYPE_CHECKING:
    from torch import Tensor

    from crdkit.contrast import ContrastConfig, InstanceContrast

    Step = Callable[[Tensor, Tensor, Tensor], Tensor]

HEADLINE = {"batch_size": 64, "num_samples": 50_000, "num_negatives": 16_384}
METHODS = ("uniform", "other_class", "shared", "all", "batch", "uniform bf16", "all bf16")
#: What the headline setting is to reach on a CPU: times faster than the published formulation.
TARGETS = {"uniform": 8, "shared": 25, "batch": 25, "all": 6}
#: What every setting of the grid is to reach.
EVERYWHERE = 5
#: Of the bound with the most samples, and what `all` is to reach there.
BOUND_TARGET, ALL_TARGET = 0.5, 1.5
MEMORY_TARGET = 0.1
GRID = [
    {"batch_size": b, "num_samples": m, "num_negatives": k}
    for m in (50_000, 200_000, 1_280_000)
    for b in (64, 256)
    for k in (4_096, 16_384)
]
DIM, SEED, NUM_CLASSES = 128, 0, 100


def settings(quick: bool) -> list[dict[str, int]]:
    """The headline, then the growth over M, K and B, one at a time, and the grid."""
    growth = {
        "num_samples": [5_000] if quick else [5_000, 20_000],
        "num_negatives": [1_024] if quick else [256, 1_024],
        "batch_size": [16] if quick else [16, 32],
    }
    one = [{**HEADLINE, name: value} for name, values in growth.items() for value in values]
    grid = [] if quick else [setting for setting in GRID if setting != HEADLINE]
    return [HEADLINE, *one, *grid]


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

    kind: Any = negatives.removesuffix(" bf16")
    return InstanceContrast(
        setting["num_samples"],
        ContrastConfig(
            DIM,
            num_negatives=setting["num_negatives"],
            negatives=kind,
            memory_dtype="bfloat16" if negatives.endswith(" bf16") else "float32",
        ),
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


def measure(setting: dict[str, int], rounds: int, device: str) -> dict[str, Any]:
    """Median times and peak memory of all methods in one setting, and the speed of reading meanwhile."""
    import torch

    from crdkit.contrast import native, scores

    torch.manual_seed(SEED)
    banks: dict[str, InstanceContrast] = {}
    steps: dict[str, Step] = {}
    first: InstanceContrast | None = None
    for name in METHODS:
        loss = build(setting, name, device)
        if first is None:
            first, steps["published"] = loss, published_step(loss, setting["num_negatives"])
        if loss.bank_student is not None:
            # One pair of banks of a type for all: at M = 1.3 million a pair has 1.3 GB.
            shared = banks.setdefault(str(loss.bank_student.rows.dtype), loss)
            loss.bank_student, loss.bank_teacher = shared.bank_student, shared.bank_teacher
        steps[name] = own_step(loss)
    times: dict[str, list[float]] = {name: [] for name in steps}
    array, speeds = torch.ones(2**27, device=device), list[float]()
    for round_ in range(rounds + 1):
        speeds.append(bytes_a_second(array, device))
        for name, step in steps.items():
            duration = seconds(step, setting, device)
            if round_ > 0:  # the first one warms up, and fixes Z
                times[name].append(duration)
    medians = {name: statistics.median(values) for name, values in times.items()}
    peaks = {
        name: peak_bytes(partial(step, *inputs(setting, device)), device) for name, step in steps.items()
    }
    natively = device == "cpu" and native.kernel() is not None
    product = scores.prefers_product(setting["num_samples"], setting["num_negatives"])
    drawn, speed = (
        2 * setting["batch_size"] * setting["num_negatives"] * DIM * 4,
        statistics.median(speeds[1:]),
    )
    return {
        **setting,
        "bytes_a_second": speed,
        "plan": "native gather" if natively else "product" if product else "gather",
        "bound_seconds": drawn / speed,
        "share_of_bound": drawn / speed / medians["uniform"],
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
    title = (
        "B={batch_size:,} M={num_samples:,} K={num_negatives:,} ({plan}, {share_of_bound:.0%} of the bound)"
    ).format(**result)
    print(f"\n{title}\n{'':12}{'ms':>10}{'times faster':>14}{'peak MB':>10}{'share':>8}", flush=True)
    for name, row in result["methods"].items():
        print(
            f"{name:12}{row['seconds'] * 1e3:10.1f}{row['speedup']:14.1f}"
            f"{row['peak_bytes'] / 1e6:10.1f}{row['peak_share']:8.3f}",
            flush=True,
        )


def judge(results: list[dict[str, Any]]) -> dict[str, bool]:
    """Which targets are met; they are set for CPUs."""
    methods = results[0]["methods"]
    met = {f"{name} >= {factor}x": methods[name]["speedup"] >= factor for name, factor in TARGETS.items()}
    met |= {f"{name} memory <= 1/10": methods[name]["peak_share"] <= MEMORY_TARGET for name in METHODS}
    keys = ("batch_size", "num_samples", "num_negatives")
    grid = [result for result in results if {key: result[key] for key in keys} in GRID]
    met[f"uniform >= {EVERYWHERE}x on the whole grid"] = len(grid) == len(GRID) and all(
        result["methods"]["uniform"]["speedup"] >= EVERYWHERE for result in grid
    )
    for result in grid:
        if [result[key] for key in keys] == [64, 1_280_000, 16_384]:
            met[f"uniform >= {BOUND_TARGET:.0%} of the bound at M=1.28 million"] = (
                result["share_of_bound"] >= BOUND_TARGET
            )
            met[f"all >= {ALL_TARGET}x at M=1.28 million"] = result["methods"]["all"]["speedup"] >= ALL_TARGET
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
    multiplied = flops_a_second(given.device)
    print(f"matrices are multiplied at {multiplied / 1e9:.0f} GFLOP/s")
    results = []
    for setting in settings(given.quick)[: 1 if given.headline else None]:
        results.append(measure(setting, given.rounds, given.device))
        print_setting(results[-1])
    targets = judge(results)
    print()
    for name, met in targets.items():
        print(f"{'met   ' if met else 'MISSED'} {name}")
    found = {
        "disagreement": difference,
        "flops_a_second": multiplied,
        "targets": targets,
        "settings": results,
    }
    write(given.output, "contrast", around, seed=SEED, **found)


if __name__ == "__main__":
    main()
