"""Every method of 20 steps on a tiny network: `torchrun --nproc_per_node N method_ranks.py FOLDER` leaves the
students of all in FOLDER; a run of its own for each, over one process group."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from two_ranks import IMAGES, Plain, teachers

from crdkit.compression import CompressionConfig, CompressionPipeline
from crdkit.data import load_splits
from crdkit.distillers import JOINT, METHODS
from crdkit.engine import TrainConfig, end_training, make_accelerator
from crdkit.ensemble import EnsembleConfig, EnsemblePipeline
from crdkit.transfer import TransferConfig

# Batches of 8, 8 and 5 of two ranks: 4 and 4, 4 and 4, 3 and 2. At larger rates or weights some losses go up
# and down, and rounding grows with them: in one process, too, if its first weights are changed by 1e-7.
TRAIN = TrainConfig(epochs=7, batch_size=8, lr=0.0003, evaluate_every=7, sync_batchnorm=True)
STEPS = 21
COMMON: dict[str, Any] = {
    "cpu": True,
    "data": IMAGES,
    "transfer": TransferConfig(train=TRAIN),
    "setting": (
        "crd.negatives=all",
        "ab.epochs=2",
        "ft.epochs=2",
        "fsp.epochs=2",
        "ft.weight=2.0",
        "rkd.weight=0.1",
        "srd.weight=0.1",
        "angle.weight=0.01",  # the untrained teacher answers within 3 degrees
        "dist.weight=0.01",  # and its predictions are nearly constant, which their correlation divides by
    ),
}


def main(folder: Path) -> None:
    accelerator = make_accelerator(cpu=True)
    splits = load_splits(IMAGES, accelerator.device)
    splits = replace(splits, train=splits.train.subset(range(21)), test=splits.test.subset(range(4)))
    single = CompressionPipeline(
        CompressionConfig(**COMMON, method=tuple(METHODS)),
        splits,
        accelerator,
        folder / "one",
        student=lambda: Plain(3, 4, 3),
        teachers=teachers(1, 3, "rgb", width=4),
    )
    joint = EnsemblePipeline(
        EnsembleConfig(**COMMON, method=(*JOINT, "crd+kd"), teachers=(2,)),
        splits,
        accelerator,
        folder / "several",
        student=lambda: Plain(3, 4, 3),
        teachers=teachers(2, 3, "rgb"),
    )
    for pipeline in (single, joint):
        for done in pipeline.runs():
            assert done.history[-1]["step"] == STEPS
    end_training(accelerator)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
