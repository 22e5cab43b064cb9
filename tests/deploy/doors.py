"""What every saved network of four runs reaches, in a process of its own: `python doors.py FOLDER` prints
JSON: {door: figure}. The runs are `compress`, `ensemble`, `rooms` and `lab` in the folder."""

import csv
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image

import crdkit
from crdkit.crossmodal import DataConfig, load_samples
from crdkit.data import ChannelDataset, ImagesConfig, ImageSplits, load_splits
from crdkit.engine import make_accelerator
from crdkit.evaluation import Evaluator, SegmentationEvaluator

ACCELERATOR = make_accelerator(cpu=True)


def config_of(run: Path) -> Mapping[str, Any]:
    found: dict[str, Any] = yaml.safe_load((run / "config.yaml").read_text())
    return found


def images_of(run: Path) -> ImageSplits:
    data = config_of(run)["data"]
    return load_splits(
        ImagesConfig(data["source"], size=data["size"], classes=data["classes"]), ACCELERATOR.device
    )


def predicted(network: Path, inputs: Path, output: Path) -> list[dict[str, str]]:
    """predictions.csv of `crdkit predict`."""
    command = [sys.executable, "-m", "crdkit", "predict", str(network), str(inputs), "--output", str(output)]
    subprocess.run([*command, "--no-overlays"], check=True, capture_output=True)
    with (output / "predictions.csv").open() as file:
        return list(csv.DictReader(file))


def of_classifiers(run: Path) -> dict[str, float]:
    """Top-1 of every student through every door."""
    images = images_of(run)
    judge = Evaluator(images.test, images.num_classes, ACCELERATOR)
    found = {}
    for place in sorted([*run.glob("deploy/*/"), *run.glob("runs/**/*.safetensors")]):
        if place.is_dir() or place.name in ("student.safetensors", "deployed.safetensors"):
            model, _ = crdkit.load(place)
            found[str(place.relative_to(run))] = judge(model)["top1"]
    return found


def of_files(run: Path, method: str) -> float:
    """Top-1 of `crdkit predict` on the test images in a file."""
    images = images_of(run)
    stored = torch.stack([images.test[row]["rgb"] for row in range(len(images.test))])
    np.save(run / "test.npy", (stored * 255).round().byte().permute(0, 2, 3, 1).numpy())
    rows = predicted(run / "deploy" / method, run / "test.npy", run / "predicted")
    names = images.class_names or tuple(map(str, range(images.num_classes)))
    right = [row["class_1"] == names[int(c)] for row, c in zip(rows, images.test.labels, strict=True)]
    return sum(right) / len(right)


def of_segmenter(run: Path, method: str) -> dict[str, float]:
    """Mean IoU of the deployed segmenter: of the module, and of what `crdkit predict` writes."""
    data = config_of(run)["data"]
    names = ("source", "classes", "train_samples", "test_samples", "unlabeled_samples", "seed")
    size = tuple(data["size"])
    samples = load_samples(DataConfig(**{name: data[name] for name in names}, size=size), ("depth",))
    model, _ = crdkit.load(run / "deploy" / method)
    judge = SegmentationEvaluator(samples.test, samples.num_classes, ACCELERATOR, modality="depth")
    depth = torch.stack([samples.test[row]["depth"] for row in range(len(samples.test))])
    np.save(run / "test.npy", depth.permute(0, 2, 3, 1).numpy())
    predicted(run / "deploy" / method, run / "test.npy", run / "predicted")
    counts = np.zeros((samples.num_classes, samples.num_classes))
    for row in range(len(samples.test)):
        truth = samples.test[row]["label"].numpy()
        with Image.open(run / f"predicted/labels/test/{row:06}.png") as image:
            said = np.asarray(image)
        known = truth < samples.num_classes
        np.add.at(counts, (truth[known], said[known]), 1)
    both = counts.diagonal()
    union = counts.sum(0) + counts.sum(1) - both
    return {"module": judge(model)["mean_iou"], "files": float((both / union)[union > 0].mean())}


def of_finetuned(run: Path, method: str) -> float:
    """Top-1 of the fine-tuned network on the test split's color."""
    images = images_of(run)
    model, _ = crdkit.load(run / "deploy" / method)
    test = ChannelDataset(images.test, ("ab",))
    found: float = Evaluator(test, images.num_classes, ACCELERATOR, modality="ab")(model)["top1"]
    return found


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    result = {
        "compress": of_classifiers(folder / "compress"),
        "compress files": of_files(folder / "compress", "crd"),
        "ensemble": of_classifiers(folder / "ensemble"),
        "rooms": of_segmenter(folder / "rooms", "crd-dense"),
        "lab": of_finetuned(folder / "lab", "none"),
    }
    print(json.dumps(result))
