"""Draws the picture of the README from a finished run of the embedded default.

    crdkit crossmodal --output RUN
    python docs/picture.py RUN            # writes docs/pictures/predictions.png

A row for each of a few test scenes, spread evenly over the test set: what the teacher sees, what the student
sees, the student's prediction without and with the transfer, and the truth.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from crdkit.crossmodal import DataConfig, load_samples
from crdkit.data import Normalize, Statistics, read_rows
from crdkit.models import Normalized, Segmenter, create, load_weights

HERE = Path(__file__).resolve().parent
FIELDS = ("source", "train_samples", "test_samples", "unlabeled_samples", "seed")
"""Of the data's settings: the rendered rooms have no others."""


def load_student(run: Path, method: str, config: Mapping[str, Any], classes: int) -> torch.nn.Module:
    """The segmenter that a method's first seed ended with, in eval mode."""
    size = tuple(config["data"]["size"])
    measured = json.loads((run / "statistics" / "values.json").read_text(encoding="utf-8"))
    normalize = Normalize(Statistics.from_dict(measured), "depth")
    encoder = Normalized(normalize, create(config["student"], num_classes=None, in_channels=1))
    student = Segmenter(encoder, classes, hidden=config["segment"]["hidden"], input_size=(1, *size))
    folder = run / "runs" / method / f"seed-{config['seed'][0]}" / "segment"
    load_weights(student, folder / "model.safetensors")
    return student.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--method", default="crd-dense+fitnet", help="the transfer beside `none`")
    parser.add_argument("--rows", type=int, default=3)
    parser.add_argument("--output", type=Path, default=HERE / "pictures" / "predictions.png")
    given = parser.parse_args()

    config = yaml.safe_load((given.run / "config.yaml").read_text(encoding="utf-8"))
    data = DataConfig(**{name: config["data"][name] for name in FIELDS}, size=tuple(config["data"]["size"]))
    samples = load_samples(data, ("rgb", "depth"))
    step = (len(samples.test) - 1) / max(1, given.rows - 1)
    batch = read_rows(samples.test, [round(step * row) for row in range(given.rows)])
    maps = {}
    with torch.no_grad():
        for method, title in (("none", "student alone"), (given.method, "after the transfer")):
            student = load_student(given.run, method, config, samples.num_classes)
            maps[title] = student(batch["depth"]).logits.argmax(1)
    maps["truth"] = batch["label"]

    figure = Figure(figsize=(10, 0.4 + 1.5 * given.rows), dpi=120, layout="constrained")
    axes = figure.subplots(given.rows, 5, squeeze=False)
    for row, line in enumerate(axes):
        line[0].imshow(batch["rgb"][row].permute(1, 2, 0).clamp(0, 1))
        line[1].imshow(batch["depth"][row, 0].where(batch["depth"][row, 0] > 0, torch.nan), cmap="viridis_r")
        line[1].set_facecolor("gray")  # no reading
        for axis, classes in zip(line[2:], maps.values(), strict=True):
            shown = axis.imshow(
                classes[row], cmap="tab20", vmin=0, vmax=samples.num_classes - 1, interpolation="nearest"
            )
        for axis, title in zip(line, ("RGB (teacher)", "depth (student)", *maps), strict=True):
            axis.set(xticks=[], yticks=[], title=title if row == 0 else "")
    present = sorted({int(c) for classes in maps.values() for c in classes.unique()} - {255})
    patches = [Patch(color=shown.cmap(shown.norm(c)), label=samples.class_names[c]) for c in present]
    figure.legend(
        handles=patches,
        loc="outside lower center",
        ncols=len(patches),
        frameon=False,
        fontsize=8,
        handlelength=1,
        columnspacing=1,
    )
    figure.savefig(given.output)
    print(f"drew {given.output}")


if __name__ == "__main__":
    main()
