"""Pairs on disk: the memory that a transfer over 100,000 of them takes, and what a step costs.

Writes 500 rendered rooms as PNG files, and links to them under 100,000 names. Then

- times the steps of a transfer from a part of them, in turns: in memory, from a cache of decoded samples, and
  decoded from the files in every step;
- runs `experiments/crossmodal.py pairs` over all of them for one epoch, from a cache, and compares its peak
  resident memory with that of a process that imports the same packages and runs one batch.

    python benchmarks/pairs.py --output benchmarks/results/pairs-cpu.json
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from turns import medians, peak, surroundings, timed_command_line, training_step, write

SCRIPT = Path(__file__).resolve().parents[1] / "experiments" / "crossmodal.py"
ROOMS, SIZE, BATCH = 500, (96, 128), 16
ALONE = """
import torch
from crdkit.crossmodal import PRESETS, SegmentationPipeline, load_samples
from crdkit.experiments.process import keep_freed_memory
from crdkit.models import create
keep_freed_memory()
student, teacher = create("depth_cnn_half", in_channels=1), create("depth_cnn_half", in_channels=3)
student(torch.rand(16, 1, 96, 128)).maps[-1].sum().backward()
with torch.no_grad():
    teacher(torch.rand(16, 3, 96, 128))
"""


def write_pairs(folder: Path, count: int) -> None:
    """`unlabeled` with `count` names for the rendered pairs, `test` with 100 of them."""
    import cv2
    import numpy as np

    from crdkit.recordings import SyntheticRooms

    rooms = SyntheticRooms(ROOMS, seed=0, size=SIZE)
    for part, number in (("unlabeled", count), ("test", 100)):
        for modality in ("rgb", "depth"):
            place = folder / part / modality
            place.mkdir(parents=True)
            for index in range(number):
                file = place / f"{index:06}.png"
                if index >= ROOMS:
                    os.link(place / f"{index % ROOMS:06}.png", file)
                    continue
                picture = rooms.tensors[modality][index].numpy().transpose(1, 2, 0)
                if modality == "depth":
                    picture = (picture[..., 0] * 1000).round().astype(np.uint16)
                cv2.imwrite(str(file), picture[..., ::-1] if modality == "rgb" else picture)


def endless(dataset: Any, workers: int) -> Iterator[dict[str, Any]]:
    """Batches in random order as the engine loads them."""
    from crdkit.engine import BatchSource

    return BatchSource(dataset, batch_size=BATCH, epochs=10_000, seed=0).load(0, 0, num_workers=workers)


def next_batch(batches: Iterator[dict[str, Any]], rows: Any) -> dict[str, Any]:
    """The loader's next batch, whatever rows are asked for."""
    return next(batches)


def main() -> None:
    parser = timed_command_line(__doc__)
    parser.add_argument("--pairs", type=int, default=100_000, help="of the run whose memory is told")
    parser.add_argument("--timed-pairs", type=int, default=4000, help="that the timed steps read")
    parser.add_argument("--workers", type=int, default=1, help="processes that decode")
    given = parser.parse_args()

    around = surroundings(given)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        write_pairs(root, given.pairs)
        ratios = steps(root, given)
        weights = teacher_file(root)
        run, seconds = peak(
            [
                sys.executable,
                str(SCRIPT),
                "pairs",
                "--cpu",
                "--data.root",
                place,
                "--data.memory",
                "0.01",
                "--data.cache",
                f"{place}/cache",
                "--method",
                "fitnet",
                "--student",
                "depth_cnn_half",
                "--teacher.architecture",
                "depth_cnn_half",
                "--teacher.classes",
                "2",
                "--teacher.weights",
                weights,
                "--transfer.cached-augmentations",
                "0",
                "--transfer.train.epochs",
                "1",
                "--transfer.train.batch-size",
                "64",
                "--transfer.train.warmup-epochs",
                "0",
                "--transfer.train.num-workers",
                str(given.workers),
                "--output",
                f"{place}/run",
            ]
        )
        alone, _ = peak([sys.executable, "-c", ALONE])
    more = run - alone
    print(f"alone {alone / 1e6:.0f} MB, with the run {run / 1e6:.0f} MB: {more / 1e6:.0f} MB more")
    write(
        given.output,
        "pairs",
        around,
        pairs=given.pairs,
        size=SIZE,
        workers=given.workers,
        seconds=seconds,
        alone_bytes=alone,
        run_bytes=run,
        more_bytes=more,
        steps=ratios,
    )


def teacher_file(root: Path) -> str:
    """The weights of a teacher that nobody trained."""
    from crdkit.models import create, save_weights

    path = root / "teacher.safetensors"
    save_weights(create("depth_cnn_half", num_classes=2, in_channels=3), path)
    return str(path)


def steps(root: Path, given: Any) -> dict[str, float]:
    """Seconds of a step by where its pairs are, and the ratios to memory."""
    import torch

    from crdkit.data import AugmentConfig, PairedAugment, PairedTensors, Statistics
    from crdkit.distillers import build_terms, parse_method
    from crdkit.models import create
    from crdkit.recordings import FolderPairs, StoredPairs
    from crdkit.transfer import (
        Inputs,
        Teacher,
        TeacherTargets,
        TransferData,
        TransferTask,
        make_spec,
        with_normalization,
    )

    files = FolderPairs(
        root / "unlabeled", {"rgb": "rgb", "depth": "depth"}, depth_scale=0.001, size=SIZE
    ).subset(range(min(given.timed_pairs, given.pairs)))
    places: dict[str, Any] = {
        "memory": PairedTensors.from_dataset(files),
        "cache": StoredPairs.write(files, root / "timed"),
        "files": files,
    }
    statistics = Statistics.measure(places["memory"])
    augment = PairedAugment(AugmentConfig())
    calls = {}
    for name, dataset in places.items():
        torch.manual_seed(0)
        student, network = (
            with_normalization(create("depth_cnn_half", in_channels=channels), statistics, modality)
            for channels, modality in ((1, "depth"), (3, "rgb"))
        )
        teacher = Teacher(network)
        data = TransferData(dataset, augment, "depth", statistics, SIZE)
        terms = build_terms(parse_method("crd-dense"), [make_spec(student, teacher, data)])
        targets = TeacherTargets([teacher])
        task = TransferTask(student, terms, Inputs(targets, "depth", augment, frozen=(targets,)))
        batches = endless(dataset, 0 if name == "memory" else given.workers)
        calls[name] = training_step(
            task, partial(next_batch, batches), len(dataset), batch_size=BATCH, device=given.device
        )
    found = medians(calls, 20 * given.rounds)
    for name, seconds in found.items():
        print(f"{name:7} {1e3 * seconds:.1f} ms a step, {seconds / found['memory']:.2f} of memory")
    return {**found, **{f"{name}_to_memory": found[name] / found["memory"] for name in ("cache", "files")}}


if __name__ == "__main__":
    main()
