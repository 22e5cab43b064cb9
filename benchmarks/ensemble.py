"""What many teachers cost: the batched call against the loop, and kept answers against live teachers.

The first part times the forward pass of N members over a batch, one after the other and as one batched call.
The second part times a whole training step of the student (teachers, student, terms, backward, SGD, memories)
with live teachers and with their answers read from files, as `--views` does. All take turns in one run; times
are medians over the rounds.

    python benchmarks/ensemble.py --output benchmarks/results/ensemble-cpu.json
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from turns import medians, surroundings, synchronize, training_step, write

NUMBERS, SEED = (1, 2, 4, 8), 0
STEPS: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    "kd-mean": ("kd-mean", {}),
    "crd, shared, K=2,048": ("crd", {"crd": {"negatives": "shared_other_class", "num_negatives": 2048}}),
    "crd, other_class, K=16,384": ("crd", {}),
}
"""A step's name: the method and its settings."""


def teacher_calls(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Loop and batched call for each number of members, and how far their logits are apart."""
    import torch

    from crdkit.ensemble import Teachers
    from crdkit.models import create

    device = given.device
    for number in NUMBERS:
        torch.manual_seed(SEED)
        networks = [
            create(given.teacher, num_classes=100).to(device).to(memory_format=torch.channels_last)
            for _ in range(number)
        ]
        view = torch.rand(given.batch_size, 3, 32, 32, device=device)
        kinds = {"loop": Teachers(networks, batched=False), "batched": Teachers(networks, batched=True)}

        def call(kind: str, kinds: Any = kinds, view: Any = view) -> Any:
            outputs = kinds[kind](view)
            synchronize(device)
            return outputs

        pairs = zip(call("loop"), call("batched"), strict=True)
        apart = max(float((a.logits - b.logits).abs().max()) for a, b in pairs)
        found = medians({kind: partial(call, kind) for kind in kinds}, given.rounds)
        yield {"teachers": number, **found, "largest_difference": apart}


def steps(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Live and kept answers for each kind of step and number of teachers."""
    import numpy as np
    import torch
    from torch import nn

    from crdkit.data import read_mapped, write_mapped
    from crdkit.distillers import Pair, build_terms
    from crdkit.engine import TaughtViews, TransferTask
    from crdkit.ensemble import FixedViews, Teachers, methods_of_many
    from crdkit.models import create, measure

    device, samples = given.device, given.samples
    rng = np.random.default_rng(SEED)
    labels = torch.arange(samples) % 100
    size = (3, 32, 32)
    with tempfile.TemporaryDirectory() as folder:

        def mapped(name: str, *shape: int, kind: str = "float32") -> Any:
            path, length = Path(folder) / f"{name}.h5", samples
            rows = rng.integers(0, 256, (length, *shape)).astype(kind)
            write_mapped(path, {}, length, [{"rows": rows}])
            return read_mapped(path, verify=False)["rows"][None]

        torch.manual_seed(SEED)
        networks = [
            create(given.teacher, num_classes=100).to(device).to(memory_format=torch.channels_last)
            for _ in range(max(NUMBERS))
        ]
        width = measure(networks[0], size).embedding
        images = mapped("images", *size, kind="uint8")
        answers = [
            {"logits": mapped(f"logits-{i}", 100), "embedding": mapped(f"embedding-{i}", width)}
            for i in range(max(NUMBERS))
        ]

        def step_of(method: str, settings: Any, number: int, kept: bool) -> Callable[[], None]:
            student = create(given.student, num_classes=100).to(device).to(memory_format=torch.channels_last)
            pair = Pair(measure(student, size), measure(networks[0], size), samples, labels)
            terms = build_terms(method, [pair] * number, settings, methods=methods_of_many())
            views = (
                FixedViews(images, answers[:number])
                if kept
                else TaughtViews(nn.Identity(), Teachers(networks[:number]))
            )
            task = TransferTask(student, terms, views, task_weight=1.0)
            return training_step(task, labels, batch_size=given.batch_size, size=size, device=device)

        for name, (method, settings) in STEPS.items():
            for number in NUMBERS:
                calls = {
                    kind: step_of(method, settings, number, kept)
                    for kind, kept in (("live", False), ("kept", True))
                }
                yield {"step": name, "teachers": number, **medians(calls, given.rounds)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--teacher", default="wrn_16_2")
    parser.add_argument("--student", default="resnet8")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: PyTorch's)")
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds")
    parser.add_argument("--output", type=Path, help="write the results to this JSON file")
    given = parser.parse_args()

    import torch

    if given.threads:
        torch.set_num_threads(given.threads)
    around = surroundings()
    calls, found = [], []
    for row in teacher_calls(given):
        row["speedup"] = row["loop"] / row["batched"]
        calls.append(row)
        print("{teachers} members: loop {loop:.4f} s, batched {batched:.4f} s: {speedup:.2f} ×".format(**row))
    for row in steps(given):
        row["speedup"] = row["live"] / row["kept"]
        found.append(row)
        print("{step}, {teachers}: live {live:.4f} s, kept {kept:.4f} s: {speedup:.2f} ×".format(**row))
    report = {
        "benchmark": "ensemble",
        **around,
        "device": given.device,
        "seed": SEED,
        "rounds": given.rounds,
        "teacher": given.teacher,
        "student": given.student,
        "batch_size": given.batch_size,
        "num_samples": given.samples,
        "calls": calls,
        "steps": found,
    }
    write(given.output, report)


if __name__ == "__main__":
    main()
