"""Pictures of the benchmarks: how steps grow, and how near they are to what the machine can do."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crdkit.reports.canvas import new_figure, save

DRAWN = ("published", "uniform", "uniform bf16", "shared", "all", "batch")
HEADLINE = {"batch_size": 64, "num_samples": 50_000, "num_negatives": 16_384}
AXES = {"num_samples": "samples M", "num_negatives": "negatives K", "batch_size": "batch B"}
DIM = 128


def growth(path: Path, results: Mapping[str, Any]) -> None:
    """Milliseconds of a contrastive step over M, K and B, and all settings under the machine's roof."""
    figure = new_figure(11.0, 7.0)
    panels = figure.subplots(2, 2).ravel()
    for axis, (name, words) in zip(panels, AXES.items(), strict=False):
        fixed = {key: value for key, value in HEADLINE.items() if key != name}
        rows = [s for s in results["settings"] if all(s[key] == value for key, value in fixed.items())]
        rows.sort(key=lambda s: int(s[name]))
        for method in DRAWN:
            axis.plot(
                [s[name] for s in rows],
                [s["methods"][method]["seconds"] * 1e3 for s in rows],
                marker=".",
                label=method,
            )
        others = ", ".join(f"{AXES[key].split()[1]} = {value:,}" for key, value in fixed.items())
        axis.set(
            xscale="log",
            yscale="log",
            xlabel=words,
            ylabel="ms a step",
            title=f"growth with {words}, {others}",
        )
        axis.grid(alpha=0.3)
    panels[0].legend(fontsize=8)
    _roofline(panels[3], results)
    save(figure, path)


def _roofline(axis: Any, results: Mapping[str, Any]) -> None:
    """Arithmetic done a second over arithmetic for each byte that has to be read.

    Both directions: B anchors times the rows that they meet, d products and sums for the scores and as many
    for the gradient. Bytes: each drawn row once for every anchor, or each row once for all.
    """
    bytes_a_second = statistics.median(s["bytes_a_second"] for s in results["settings"])
    flops_a_second = results["flops_a_second"]
    for method in ("uniform", "uniform bf16", "shared", "all"):
        points = []
        for s in results["settings"]:
            rows = s["num_samples"] if method == "all" else s["num_negatives"]
            flops = 2 * s["batch_size"] * rows * 4 * DIM
            read = 2 * rows * DIM * (2 if method.endswith("bf16") else 4)
            read *= s["batch_size"] if method.startswith("uniform") else 1
            points.append((flops / read, flops / s["methods"][method]["seconds"] / 1e9))
        axis.plot(*zip(*points, strict=True), linestyle="", marker=".", label=method)
    knee = flops_a_second / bytes_a_second
    ends = (0.5, knee, 1000.0)
    axis.plot(ends, [min(x * bytes_a_second, flops_a_second) / 1e9 for x in ends], color="gray", label="roof")
    axis.set(
        xscale="log",
        yscale="log",
        xlabel="FLOP for each byte of the memory",
        ylabel="GFLOP/s",
        title="under the roof",
    )
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)


def image_sizes(path: Path, results: Mapping[str, Any]) -> None:
    """Milliseconds of a step over the size of the images."""
    sizes = results["sizes"]
    _line(path, [int(size) ** 2 for size in sizes], {"kd": list(sizes.values())}, "pixels of an image")


def teachers(path: Path, results: Mapping[str, Any]) -> None:
    """Milliseconds of a step over the number of teachers, live and kept."""
    steps = results["steps"]
    kinds = dict.fromkeys(row["step"] for row in steps)
    lines = {}
    for kind in kinds:
        rows = [row for row in steps if row["step"] == kind]
        lines[f"{kind}, live"] = [row["live"] for row in rows]
        lines[f"{kind}, kept"] = [row["kept"] for row in rows]
    _line(path, sorted({row["teachers"] for row in steps}), lines, "teachers T")


def _line(path: Path, x: Sequence[int], lines: Mapping[str, Sequence[float]], words: str) -> None:
    figure = new_figure(6.0, 3.8)
    axis = figure.subplots()
    for name, seconds in lines.items():
        axis.plot(x, [1e3 * value for value in seconds], marker=".", label=name)
    axis.set(xlabel=words, ylabel="ms a step", ylim=(0, None))
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    save(figure, path)


PICTURES = {"contrast": growth, "throughput": image_sizes, "ensemble": teachers}
