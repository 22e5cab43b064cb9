"""What many teachers cost: the batched call against the loop, and cached outputs against live teachers.

The first part times the forward pass of N members over a batch, one after the other and as one batched call.
The second part times a whole training step of the student (teachers, student, terms, backward, SGD, memories)
with live teachers and with their outputs read from files, as `--transfer.cached-augmentations` does. All take
turns in one run; times are medians over the rounds.

    python benchmarks/ensemble.py --output benchmarks/results/ensemble-cpu.json
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from turns import medians, surroundings, synchronize, timed_command_line, training_step, write

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

    from crdkit.models import create
    from crdkit.transfer import Teacher, TeacherTargets

    device = given.device
    for number in NUMBERS:
        torch.manual_seed(SEED)
        teachers = [
            Teacher(create(given.teacher, num_classes=100).to(device).to(memory_format=torch.channels_last))
            for _ in range(number)
        ]
        batch = {"rgb": torch.rand(given.batch_size, 3, 32, 32, device=device)}
        kinds = {name: TeacherTargets(teachers, batched=name == "batched") for name in ("loop", "batched")}

        def call(kind: str, kinds: Any = kinds, batch: Any = batch) -> Any:
            outputs = kinds[kind](batch)
            synchronize(device)
            return outputs

        pairs = zip(call("loop"), call("batched"), strict=True)
        apart = max(float((a.logits - b.logits).abs().max()) for a, b in pairs)
        found = medians({kind: partial(call, kind) for kind in kinds}, given.rounds)
        yield {"teachers": number, **found, "largest_difference": apart}


def steps(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Live and cached outputs for each kind of step and number of teachers."""
    import torch

    from crdkit.data import PairedTensors, Statistics
    from crdkit.distillers import build_terms, parse_method
    from crdkit.engine import make_accelerator
    from crdkit.models import create
    from crdkit.transfer import (
        Cache,
        Inputs,
        Teacher,
        TeacherTargets,
        TransferData,
        TransferTask,
        cached_targets,
        make_spec,
    )

    device, samples, size = given.device, given.samples, (3, 32, 32)
    torch.manual_seed(SEED)
    teachers = [
        Teacher(
            create(given.teacher, num_classes=100).to(device).to(memory_format=torch.channels_last).eval()
        )
        for _ in range(max(NUMBERS))
    ]
    labels = torch.arange(samples) % 100
    rgb = torch.randint(0, 256, (samples, *size), dtype=torch.uint8)
    plain = Statistics(mean={"rgb": (0.0,) * 3}, std={"rgb": (1.0,) * 3})
    dataset = PairedTensors(rgb=rgb, label=labels).to(device)
    data = TransferData(dataset, torch.nn.Identity(), "rgb", plain, size[1:], labels=labels)
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(
            data,
            1,
            place="disk",
            folder=Path(folder),
            limit=0.0,
            fingerprint={},
            accelerator=make_accelerator(cpu=device == "cpu"),
        )
        reads = frozenset({"logits", "embedding"})

        def step_of(method: str, settings: Any, number: int, cached: bool) -> Callable[[], None]:
            student = create(given.student, num_classes=100).to(device).to(memory_format=torch.channels_last)
            specs = [make_spec(student, teacher, data) for teacher in teachers[:number]]
            terms = build_terms(parse_method(method, settings), specs)
            targets: Any = cached_targets if cached else TeacherTargets(teachers[:number])
            task = TransferTask(student, terms, Inputs(targets), task_weight=1.0)
            source = cache.dataset(teachers[:number], [reads] * number) if cached else dataset
            return training_step(
                task,
                lambda rows: source.__getitems__(rows.tolist()),
                samples,
                batch_size=given.batch_size,
                device=device,
            )

        for name, (method, settings) in STEPS.items():
            for number in NUMBERS:
                calls = {
                    kind: step_of(method, settings, number, cached)
                    for kind, cached in (("live", False), ("cached", True))
                }
                yield {"step": name, "teachers": number, **medians(calls, given.rounds)}


def main() -> None:
    parser = timed_command_line(__doc__)
    parser.add_argument("--teacher", default="wrn_16_2")
    parser.add_argument("--student", default="resnet8")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--samples", type=int, default=10_000)
    given = parser.parse_args()
    around = surroundings(given)
    calls, found = [], []
    for row in teacher_calls(given):
        row["speedup"] = row["loop"] / row["batched"]
        calls.append(row)
        print("{teachers} members: loop {loop:.4f} s, batched {batched:.4f} s: {speedup:.2f} ×".format(**row))
    for row in steps(given):
        row["speedup"] = row["live"] / row["cached"]
        found.append(row)
        print("{step}, {teachers}: live {live:.4f} s, cached {cached:.4f} s: {speedup:.2f} ×".format(**row))
    write(
        given.output,
        "ensemble",
        around,
        seed=SEED,
        teacher=given.teacher,
        student=given.student,
        batch_size=given.batch_size,
        num_samples=given.samples,
        calls=calls,
        steps=found,
    )


if __name__ == "__main__":
    main()
