"""Test samples as networks see them, the truth, and what is predicted: one picture, and one for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .canvas import colorize, palette
from .modalities import pictured
from .page import Predictions
from .pictures import PanelRow, present_classes, segmentation_panel

FOLDER = "predictions"


def draw_predictions(
    pictures: Path,
    seen: Mapping[str, Any],
    label: Any,
    predictions: Mapping[str, Any],
    class_names: Sequence[str],
) -> Predictions:
    """Draw `predictions.png`, and each of its pictures in `predictions/`.

    Args:
        pictures: folder.
        seen: modality → (B, C, h, w), of any size.
        label: (B, H, W) classes, 255 = ignore.
        predictions: method → (B, H, W) classes.
        class_names: of all classes.
    """
    shown = {name: pictured(name, batch) for name, batch in seen.items()}
    rows = [
        PanelRow(
            {name: one.images[n] for name, one in shown.items()},
            label[n],
            {method: maps[n] for method, maps in predictions.items()},
        )
        for n in range(len(label))
    ]
    segmentation_panel(pictures / "predictions.png", rows, class_names=class_names)
    samples = []
    for number, row in enumerate(rows):
        maps = {"truth": row.label, **row.predictions}
        images = {**row.inputs, **{name: colorize(classes) for name, classes in maps.items()}}
        files = {name: f"{FOLDER}/{number}-{place}.png" for place, name in enumerate(images)}
        for name, image in images.items():
            _write(pictures / files[name], image)
        samples.append(files)
    colors = [
        "#" + "".join(f"{channel:02x}" for channel in color) for color in palette(len(class_names)).tolist()
    ]
    note = " · ".join(f"{name}: {one.words}" for name, one in shown.items() if one.words)
    return Predictions(
        "Predictions",
        "predictions.png",
        list(shown),
        list(predictions),
        samples,
        [(class_names[c], colors[c]) for c in present_classes(rows)],
        f"{note}." if note else "",
    )


def _write(path: Path, image: Any) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, optimize=True)
