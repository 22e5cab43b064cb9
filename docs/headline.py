"""The README's table: a row for each pipeline's measured run, from the files in benchmarks/results/."""

import json
from pathlib import Path
from typing import NamedTuple

from crdkit.reports.tables import Statistic


class Row(NamedTuple):
    """A run, the figure that it is judged by, and the method that stands in each column."""

    what: str
    file: str
    metric: str
    """Key in the file's summary; of `error_…` the accuracy is shown."""
    kd: str
    fitnet: str
    contrast: str
    both: str
    """The best sum that was run, if any was."""


ROWS = (
    Row(
        "RGB → depth in rendered rooms, 40 labels, mean IoU",
        "rooms",
        "mean_iou",
        "kd",
        "fitnet",
        "crd-dense",
        "crd-dense+fitnet",
    ),
    Row(
        "RGB → depth on NYU-Depth-v2, all labels, mean IoU",
        "nyu-small-full",
        "mean_iou",
        "kd",
        "fitnet",
        "crd-dense",
        "crd-dense+kd",
    ),
    Row(
        "the same, the teacher never saw the labels",
        "nyu-small-unseen",
        "mean_iou",
        "kd",
        "fitnet",
        "crd-dense",
        "",
    ),
    Row(
        "L → ab, 10 classes, fine-tuned, top-1",
        "stl10-small",
        "finetune_top1",
        "kd",
        "fitnet",
        "crd",
        "crd+kd",
    ),
    Row("WRN-16-2 → ResNet-8, 20 classes, top-1", "tiny32-small", "top1", "kd", "fitnet", "crd", "fitnet+kd"),
    Row(
        "eight WRN-16-2 → ResNet-8, 20 classes, top-1",
        "ensemble-tiny32-small",
        "error_8",
        "kd-mean",
        "",
        "crd",
        "crd+kd",
    ),
)


def headline(results: Path) -> str:
    """Percent, mean ± sample standard deviation over seeds, the best of a row in bold.

    Raises:
        FileNotFoundError, KeyError: a file, method or metric that a row names is not there.
    """
    lines = [
        "| | student alone | KD | FitNet | CRD | sum | of | seeds |",
        "|---|" + "---:|" * 5 + "---|---:|",
    ]
    for row in ROWS:
        summary = json.loads((results / f"{row.file}.json").read_text(encoding="utf-8"))["summary"]
        methods = ("none", row.kd, row.fitnet, row.contrast, row.both)
        found = {name: _shown(row.metric, summary[name][row.metric]) for name in methods if name}
        best = max(mean for mean, _ in found.values())
        cells = []
        for name in methods:
            mean, text = found.get(name, (0.0, "–"))
            cells.append(f"**{text}**" if mean == best else text)
        seeds = summary["none"][row.metric]["n"]
        lines.append(f"| {' | '.join([row.what, *cells, row.both or '–', str(seeds)])} |")
    return "\n".join(lines) + "\n"


def _shown(metric: str, statistic: Statistic) -> tuple[float, str]:
    mean = 100 * (1 - statistic["mean"] if metric.startswith("error") else statistic["mean"])
    spread = "" if statistic["std"] is None else f" ± {100 * statistic['std']:.1f}"
    return mean, f"{mean:.1f}{spread}"
