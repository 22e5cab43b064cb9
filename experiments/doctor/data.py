"""What the samples hold: ranges, holes, classes, doubles; and sheets of them to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .finding import Findings, Level

if TYPE_CHECKING:
    from torch import Tensor

    from crdkit.pipelines import DataSplits

LOOKED_AT = 64
"""Samples of a part that are looked at, evenly spaced."""
COMPARED = 2000
"""Samples of a part that are compared for doubles."""
TOO_SMALL = 32
"""Pictures of so many pixels a side, or fewer, are too alike to be compared."""
SHOWN = 6
"""Samples on a sheet of pairs; four times as many of single images."""
HOLES = 0.5
"""Share of pixels without reading that is worth a note."""
UNEVEN = 20
"""So many times as many samples in one class as in another are worth a note."""


def examine_data(
    found: Findings, data: DataSplits, groups: Tensor | None, folder: Path, *, compared: bool
) -> None:
    """Examine numbers of samples, ranges, classes and duplicates across splits; draw contact sheets.

    Args:
        found: receives the findings.
        data: data sets of the run.
        groups: recording or scene of every sample of the transfer, if known.
        folder: receives the sheets.
        compared: whether the reader of the data has looked for duplicates already.
    """
    from crdkit.data import evenly_spaced, read_rows

    splits = data.splits
    found.add("ok", "samples", ", ".join(f"{name} {len(split):,}" for name, split in splits.items()))
    if groups is not None:
        count = int(groups.unique().numel())
        found.add("ok", "samples", f"{count:,} groups; samples of one are no negatives of each other")
    looked = {name: read_rows(part, evenly_spaced(len(part), LOOKED_AT)) for name, part in splits.items()}
    _ranges(found, looked)
    _classes(found, data, looked)
    if not compared:
        _duplicates(found, splits)
    _sheets(found, data, folder)


def _ranges(found: Findings, looked: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Of every modality the range and the holes, part by part."""
    from crdkit.data import readings

    names = dict.fromkeys(name for batch in looked.values() for name in batch)
    for name in names:
        told: list[str] = []
        level: Level = "ok"
        for part, batch in looked.items():
            if name not in batch or not batch[name].is_floating_point():
                continue
            values = batch[name].float()
            valid = readings(name, values)
            known = values if valid is None else values[valid.expand_as(values)]
            holes = 1 - known.numel() / values.numel()
            if not known.numel():
                found.add("problem", name, f"{part}: no pixel has a reading")
                continue
            low, high = float(known.min()), float(known.max())
            text = f"{part} {low:.3g} to {high:.3g}, mean {float(known.mean()):.3g}"
            if holes:
                text += f", {holes:.0%} holes"
            if low == high:
                found.add("problem", name, f"{part}: every pixel is {low:.3g}")
                continue
            level = "note" if holes > HOLES else level
            told.append(text)
        if told:
            shape = "×".join(map(str, next(b[name] for b in looked.values() if name in b).shape[1:]))
            found.add(level, name, f"{shape}: {' · '.join(told)}")


def _classes(found: Findings, data: DataSplits, looked: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Count samples of each class, or pixels: the most common, the rarest, and those without any."""
    import torch

    from crdkit.data import IGNORE

    count, in_pixels = data.num_classes, data.pairs is not None
    names = data.class_names or tuple(map(str, range(count)))
    numbers: dict[str, Tensor] = {}
    for part in ("train", "test"):
        if part not in data.splits or "label" not in looked[part]:
            continue
        labels = looked[part]["label"] if in_pixels else data.splits[part].labels
        flat = labels.flatten().long().cpu()
        numbers[part] = torch.bincount(flat[flat != IGNORE] if in_pixels else flat, minlength=count)
    if not numbers:
        return found.add("ok", "classes", "no labels: the run ends after the transfer")
    for part, counts in numbers.items():
        told = f"{part}: {_in_words(counts[:count], names, pixels=in_pixels)}"
        seen = counts[:count][counts[:count] > 0]
        uneven = not in_pixels and len(seen) and int(seen.max()) >= UNEVEN * int(seen.min())
        found.add("note" if uneven else "ok", "classes", told)
    first = next(iter(numbers.values()))
    absent = [names[c] for c in range(count) if not first[c]]
    if absent:
        few = "" if not in_pixels else f" among {LOOKED_AT} samples"
        found.add("note", "classes", f"none in train{few}: {', '.join(absent[:10])}")


def _in_words(counts: Tensor, names: Sequence[str], *, pixels: bool) -> str:
    order = counts.argsort(descending=True, stable=True).tolist()
    total = max(1, int(counts.sum()))

    def one(c: int) -> str:
        return f"{names[c]}: {counts[c] / total:.1%}" if pixels else f"{names[c]}: {int(counts[c]):,}"

    if not pixels and int(counts.min()) == int(counts.max()):
        return f"{len(counts)} classes of {int(counts[0]):,} samples"
    what = "shares of the pixels" if pixels else "samples"
    shown = (
        ", ".join(map(one, order))
        if len(order) <= 5
        else (f"{', '.join(map(one, order[:3]))} … {', '.join(map(one, order[-2:]))}")
    )
    return f"{len(counts)} classes, {what}: {shown}"


def _duplicates(found: Findings, parts: Mapping[str, Any]) -> None:
    """Frames of the test part that are nearly frames that are trained on."""
    from crdkit.data import evenly_spaced, subset
    from crdkit.recordings import near_duplicates

    test = parts.get("test")
    if test is None:
        return
    modality = next(iter(sorted(set(test[0]) - {"index", "label"}, key=lambda name: name != "rgb")))
    if min(test[0][modality].shape[-2:]) <= TOO_SMALL:
        return
    for name in ("train", "unlabeled"):
        if name not in parts:
            continue
        one, other = (
            subset(parts[part], evenly_spaced(len(parts[part]), COMPARED)) for part in (name, "test")
        )
        alike = len({row for _, row in near_duplicates(one, other, modality=modality)})
        text = f"{alike} of {len(other):,} samples of test are nearly samples of {name}"
        found.add("note" if alike else "ok", "doubles", f"{text} (by {modality}, {len(one):,} compared)")


def _sheets(found: Findings, data: DataSplits, folder: Path) -> None:
    """Some pairs laid over each other, with their labels; or images with their classes."""
    from crdkit.data import evenly_spaced, read_rows
    from crdkit.reports import PanelRow, image_sheet, overlay_picture, pictured, segmentation_panel

    if data.pairs is not None:
        batch = read_rows(data.pairs, evenly_spaced(len(data.pairs), SHOWN))
        seen = data.modalities
        overlay_picture(folder / "pairs.png", {name: batch[name].cpu() for name in seen})
        found.add("ok", "look", f"{folder / 'pairs.png'}: the modalities must lie on each other")
        if data.pixel_labels:
            train = data.splits["train"]
            batch = read_rows(train, evenly_spaced(len(train), SHOWN))
            images = {name: pictured(name, batch[name].cpu()).images for name in seen}
            rows = [
                PanelRow({name: image[row] for name, image in images.items()}, label.cpu(), {})
                for row, label in enumerate(batch["label"])
            ]
            segmentation_panel(folder / "labels.png", rows, class_names=data.class_names)
            found.add("ok", "look", f"{folder / 'labels.png'}: the labels must fit the pictures")
        return
    train = data.splits["train"]
    batch = read_rows(train, evenly_spaced(len(train), 4 * SHOWN))
    names = data.class_names
    titles = [names[c] if names else str(c) for c in batch["label"].tolist()]
    image_sheet(folder / "images.png", pictured("rgb", batch["rgb"].cpu()).images, titles)
    found.add("ok", "look", f"{folder / 'images.png'}: the pictures must be of their classes")
