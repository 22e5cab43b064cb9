"""Time a sample from NYU-Depth-v2's official .mat against the converted file.

    python benchmarks/loading.py ROOT [--frames 20] [--output benchmarks/results/data-nyu.json]

ROOT has the official files. Both readers serve the same samples (checked), alternating in one process on
one thread, with the files in the page cache. Times are a sample's median.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from turns import command_line, surroundings, write


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("root", type=Path, help="folder with the official files")
    parser.add_argument("--frames", type=int, default=20, help="samples to time")
    parser.add_argument("--repeats", type=int, default=3, help="passes over them")
    given = parser.parse_args()

    import cv2
    import torch

    from crdkit.recordings import NYUDepth, PackedPairs
    from crdkit.recordings.convert import METERS_PER_UNIT, convert_nyu

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    around = surroundings(given)
    cases: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for size in ((480, 640), (240, 320), (96, 128)):
            packed_path = Path(folder) / f"{size[0]}.h5"
            convert_nyu(given.root, packed_path, size=size)
            official = NYUDepth(given.root, "test", classes=13, size=size)
            packed = PackedPairs(packed_path, "test", classes=13)
            frames = min(given.frames, len(official))
            times: dict[str, list[float]] = {"official": [], "packed": []}
            worst = 0.0
            for repeat in range(given.repeats + 1):
                for index in range(frames):
                    start = time.perf_counter()
                    a = official[index]
                    middle = time.perf_counter()
                    b = packed[index]
                    end = time.perf_counter()
                    if repeat:
                        times["official"].append(middle - start)
                        times["packed"].append(end - middle)
                        continue
                    if not (torch.equal(a["rgb"], b["rgb"]) and torch.equal(a["label"], b["label"])):
                        raise SystemExit(f"sample {index} at {size} differs between the two files")
                    worst = max(worst, float((a["depth"] - b["depth"]).abs().max()))
            medians = {name: statistics.median(values) for name, values in times.items()}
            cases.append(
                {
                    "size": size,
                    "official_ms": round(medians["official"] * 1e3, 3),
                    "packed_ms": round(medians["packed"] * 1e3, 3),
                    "ratio": round(medians["official"] / medians["packed"], 1),
                    "largest_depth_difference_m": worst,
                    "n": frames * given.repeats,
                }
            )
            print(cases[-1])
    write(given.output, "loading", around, cases=cases, depth_step_m=METERS_PER_UNIT)


if __name__ == "__main__":
    main()
