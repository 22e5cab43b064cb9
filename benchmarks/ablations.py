"""Train with one setting of CRD at a time, the others as published.

    python benchmarks/ablations.py --folder runs/ablations --output benchmarks/results/ablations-cpu.json \\
        -- tiny32-small --data.root tiny32_base.h5 --transfer.train.epochs 15

What stands behind `--` is given to experiments/compress.py. Every point is a run of its own in the folder;
all have one teacher, and the teacher's outputs if they are kept. What is there is gone on with, and the
results are written after each point.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from turns import command_line, surroundings, write

from crdkit.experiments import compress
from crdkit.reports.results import read_results


class Axis(NamedTuple):
    """What is changed, and to what."""

    words: str
    setting: str
    """Of `crd`."""
    published: Any
    values: tuple[Any, ...]


AXES = {
    "objective": Axis("objective", "objective", "nce", ("nce", "infonce", "relational")),
    # i≠j and y_i≠y_j of the paper's section 3.1, and no memory.
    "negatives": Axis("noise", "negatives", "other_class", ("uniform", "other_class", "batch")),
    "num_negatives": Axis("negatives K", "num_negatives", 16_384, (16, 64, 256, 1024, 4096, 16_384)),
    "temperature": Axis("temperature τ", "temperature", 0.07, (0.02, 0.05, 0.07, 0.1, 0.3)),
    "momentum": Axis("momentum of the memory", "momentum", 0.5, (0.0, 0.5, 0.9, 0.99)),
}
METRICS = ("top1", "best_top1")


def settings_of(axis: Axis, value: Any) -> list[str]:
    """The published settings with one changed; the batch has as many negatives as it has."""
    chosen = {each.setting: each.published for each in AXES.values()} | {axis.setting: value}
    if chosen["negatives"] == "batch":
        del chosen["num_negatives"]
    if chosen["objective"] == "relational":  # whose targets know who is alike
        chosen["negatives"] = "uniform"
    return [f"crd.{name}={each}" for name, each in chosen.items()]


def train(folder: Path, arguments: Sequence[str], *own: str) -> list[dict[str, Any]]:
    """The seeds' figures of one run, which is begun, gone on with, or there."""
    if not (folder / "results.json").is_file():
        resume = ["--resume"] if folder.exists() else []
        compress.main([*arguments, *own, "--output", str(folder), *resume])
    return [
        {**run, "metrics": {name: run["metrics"][name] for name in METRICS}}
        for run in read_results(folder)["runs"]
    ]


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="of the runs")
    parser.add_argument("--only", nargs="+", choices=AXES, default=list(AXES), help="some axes")
    words = sys.argv[1:]
    mark = words.index("--") if "--" in words else len(words)
    given, arguments = parser.parse_args(words[:mark]), words[mark + 1 :]
    around, base = surroundings(given), given.folder / "published"
    shared = ["--transfer.cache", str(given.folder / "cache"), "--method"]
    axis = AXES["objective"]
    published = train(
        base, arguments, *shared, "none", "crd", "--setting", *settings_of(axis, axis.published)
    )
    alone = [run for run in published if run["method"] == "none"]
    made, points = read_results(base)["config"], list[dict[str, Any]]()
    config = {key: made[key] for key in ("student", "seed", "precision")} | {
        "data": {key: made["data"][key] for key in ("source", "classes")},
        "teacher": made["teacher"]["architecture"],
        "epochs": made["transfer"]["train"]["epochs"],
    }
    for name in given.only:
        axis = AXES[name]
        for value in axis.values:
            if value == axis.published:
                runs = [run for run in published if run["method"] == "crd"]
            else:
                own = [*shared, "crd", "--setting", *settings_of(axis, value), "--reuse", str(base)]
                runs = train(given.folder / f"{name}-{value}", arguments, *own)
            points.append(
                {
                    "axis": name,
                    "words": axis.words,
                    "value": value,
                    "published": value == axis.published,
                    "runs": runs,
                }
            )
            write(given.output, "ablations", around, config=config, alone=alone, points=points)


if __name__ == "__main__":
    main()
