"""Peak memory of an L→ab transfer over as many unlabeled images as STL-10 has.

Writes an STL-10 layout (500 training and 500 test images of noise, 100,000 unlabeled ones in a sparse file
of 2.76 GB), runs `experiments/crossmodal.py stl10` over it for one epoch with CRD, and compares the peak
resident memory of that process with that of one that only imports the same packages and runs one batch.

    python benchmarks/memory.py --output benchmarks/results/memory-stl10.json
"""

import sys
import tempfile
from pathlib import Path

from turns import command_line, peak, surroundings, write

UNLABELED, LABELED, SIDE = 100_000, 500, 96
SCRIPT = Path(__file__).resolve().parents[1] / "experiments" / "crossmodal.py"
ALONE = """
import torch
from crdkit.crossmodal import PRESETS, RecognitionPipeline
from crdkit.data import load_splits
from crdkit.experiments.process import keep_freed_memory
from crdkit.models import create
keep_freed_memory()
network = create("{network}", num_classes=10, in_channels=2)
network(torch.rand(64, 2, {side}, {side})).logits.sum().backward()
"""


def write_layout(folder: Path) -> None:
    """STL-10's files, with noise for pixels; the unlabeled ones are a hole in the disk."""
    import numpy as np

    rng, pixels = np.random.default_rng(0), 3 * SIDE * SIDE
    for split in ("train", "test"):
        rng.integers(0, 256, (LABELED, pixels), dtype=np.uint8).tofile(folder / f"{split}_X.bin")
        (np.arange(LABELED, dtype=np.uint8) % 10 + 1).tofile(folder / f"{split}_y.bin")
    (folder / "class_names.txt").write_text("\n".join(f"class {i}" for i in range(10)) + "\n")
    with (folder / "unlabeled_X.bin").open("wb") as file:
        file.truncate(UNLABELED * pixels)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--network", default="resnet8", help="of teacher and student")
    parser.add_argument("--size", type=int, default=32, help="side that images are resized to")
    given = parser.parse_args()

    around = surroundings(given)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "stl10_binary"
        root.mkdir()
        write_layout(root)
        once = [
            text
            for stage in ("teacher.train", "transfer.train", "finetune")
            for text in (f"--{stage}.epochs", "1", f"--{stage}.warmup-epochs", "0")
        ]
        run, seconds = peak(
            [
                sys.executable,
                str(SCRIPT),
                "stl10",
                "--cpu",
                "--data.root",
                str(root),
                "--method",
                "crd",
                *once,
                "--data.size",
                str(given.size),
                "--teacher.architecture",
                given.network,
                "--student",
                given.network,
                "--seed",
                "0",
                "--output",
                f"{folder}/run",
            ]
        )
    alone, _ = peak([sys.executable, "-c", ALONE.format(network=given.network, side=given.size)])
    print(f"alone {alone / 1e6:.0f} MB, with the run {run / 1e6:.0f} MB: {(run - alone) / 1e6:.0f} MB more")
    write(
        given.output,
        "memory",
        around,
        images=UNLABELED,
        file_bytes=UNLABELED * 3 * SIDE * SIDE,
        network=given.network,
        size=given.size,
        alone_bytes=alone,
        run_bytes=run,
        more_bytes=run - alone,
        seconds=seconds,
    )


if __name__ == "__main__":
    main()
