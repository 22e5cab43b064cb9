"""A run folder with a page of every kind of part, as tests of reports read it."""

from pathlib import Path
from typing import Any

import torch

from crdkit.reports.as_html import as_html
from crdkit.reports.charts import Line, Lines, Points
from crdkit.reports.page import (
    Charts,
    Confusion,
    Page,
    Picture,
    Table,
    Text,
    read_page,
    write_page,
)
from crdkit.reports.predictions import draw_predictions
from crdkit.reports.report import compared
from crdkit.reports.results import read_results, write_results
from crdkit.reports.tables import Column, Run

ENVIRONMENT: dict[str, Any] = {
    "date": "2026-01-02T03:04:05+00:00",
    "commit": "0123456789abcdef",
    "dirty": False,
    "python": "3.11.7",
    "packages": {"crdkit": "0.1.0", "torch": "2.10.0"},
    "hardware": {"cpu": "A processor", "cores": 2, "gpus": []},
}
COLUMNS = [
    Column("mean_iou", "mean IoU"),
    Column("best_mean_iou", "best mean IoU"),
    Column("kl", "KL", 1, 2, True),
]
VALUES = {"none": (0.40, 0.42), "kd": (0.50, 0.54), "<b>odd</b>": (0.41, 0.40)}
RUNS: list[Run] = [
    {"method": method, "seed": seed, "metrics": {"mean_iou": x, "best_mean_iou": x + 0.01, "kl": 1 - x}}
    for method, values in VALUES.items()
    for seed, x in enumerate(values)
]


def every_part(folder: Path) -> list[Any]:
    label = torch.arange(48).reshape(2, 4, 6) % 3
    seen = {"thermal": torch.rand(2, 1, 8, 12), "rgb": torch.rand(2, 3, 4, 6)}
    predictions = draw_predictions(
        folder / "pictures", seen, label, {"none": label * 0, "kd": label}, ["floor", "wall", "lamp"]
    )
    line = Line("kd", [1, 2], [3.0, 5.0], [2.0, 4.0], [4.0, 6.0])
    other = Line("none", [1, 2], [1.0, 2.0])
    return [
        predictions,
        Charts("Learning curves", [Lines("top-1", [line, other])], "curves.png"),
        Table("Cost", ["network", "ms"], [["kd", 1.25], ["none", None]], shaded=True),
        Confusion("Confusion", ["floor", "wall"], {"none": [[3, 1], [0, 0]], "kd": [[4, 0], [2, 2]]}),
        Charts("Embedding", [Points("kd", [(0.0, 1.0, 0), (2.0, 3.0, 1)], ["a", "b"])], "embeddings.png"),
        Text("Pairs", "Some `code`.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n![both](pictures/predictions.png)"),
        Picture("Members", "predictions.png"),
    ]


def write_run(folder: Path, student: str = "resnet8") -> Path:
    """A run folder with a page of every kind of part."""
    write_results(
        folder,
        task="crossmodal",
        preset="p",
        runs=RUNS,
        environment=ENVIRONMENT,
        config={"student": student, "transfer": {"lr": 0.1}},
    )
    page = Page(
        "RGB to thermal: own pairs",
        COLUMNS,
        notes="A *note* of <i>odd</i>.",
        parts=every_part(folder),
        baseline="none",
        command="crdkit crossmodal pairs --seed 0 1",
    )
    write_page(folder, page)
    return folder


def html_of(run: Path) -> str:
    """The page of a run."""
    results = read_results(run)
    page = read_page(run, results)
    return as_html(page, results, run, compared(page, results))
